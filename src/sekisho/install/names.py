"""Is this the package that was meant? Compares a name with well-known ones, and with names known to mislead.

- A name that is well known itself is never suspected.
- A name is suspected when it differs from a well-known one only in separators, in the order of its words, in letters
  that look alike, in its scope, or in one or two letters.
- What is known stands in `known_names.toml`, with its source and date; it recommends nothing.

Judgement only, and only about names: nothing here says that a package is good. A suspicion is no proof either; the
operator overrules it by saying the name again (`--accept-name`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from sekisho.install.package import Ecosystem, PackageSpec, normal_python_name

__all__ = ["Suspicion", "suspicion"]

MIN_TYPO_CHARS: Final = 6  # one letter of a short name makes another honest name
MIN_OWN_CHARS: Final = 5  # "sdk" under two scopes is no coincidence that means anything
MIN_TWO_TYPOS_CHARS: Final = 9  # of the part that is not "mcp" or "server"
_GENERIC: Final = frozenset({"mcp", "server", "modelcontextprotocol"})
_LOOK_ALIKE: Final = (
    ("vv", "w"),
    ("rn", "m"),
    ("0", "o"),
    ("1", "l"),
    ("i", "l"),
    ("5", "s"),
    ("q", "g"),
    ("cl", "d"),
    ("u", "v"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Why a name may not be the one that was meant. `instead` is the well-known one, where there is one."""

    reason: str
    instead: str | None

    def about(self, name: str) -> str:
        """One sentence for whoever chose this name."""
        meant = f"; {self.instead} is the well-known one" if self.instead else ""
        return f"{name} may not be what it sounds like: {self.reason}{meant}"


def suspicion(package: PackageSpec) -> Suspicion | None:
    """What speaks against this name; None when nothing does."""
    known = _known()
    name = normal_python_name(package.name) if package.ecosystem == "pypi" else package.name
    misleading = known.misleading[package.ecosystem].get(name)
    if misleading is not None:
        return Suspicion(reason=misleading, instead=None)
    if name in known.names[package.ecosystem]:
        return None
    found = [
        (likeness, other) for other in known.names[package.ecosystem] if (likeness := _likeness(name, other))
    ]
    if not found:
        return None
    (_, reason), other = min(found)
    return Suspicion(reason=reason, instead=other)


def _likeness(name: str, other: str) -> tuple[int, str] | None:
    """How a name that is not `other` could be taken for it; the smaller the number, the more alike."""
    scope, _, own = name.rpartition("/")
    other_scope, _, other_own = other.rpartition("/")
    if _squeezed(name) == _squeezed(other):
        return 0, "it differs only in its separators"
    if _squeezed(_folded(name)) == _squeezed(_folded(other)):
        return 1, "it differs only in letters that look alike"
    if scope and len(scope) >= MIN_TYPO_CHARS and _distance(scope, other_scope, most=1) == 1:
        return (2 if own == other_own else 6), "its scope differs by one letter"
    if own == other_own and other_scope and len(_core(own)) >= MIN_OWN_CHARS:
        return 3, "it has the same name under another scope" if scope else "it lacks the scope"
    if sorted(_words(name)) == sorted(_words(other)):
        return 4, "it has the same words in another order"
    if scope and scope == other_scope:
        return None  # one owner names its packages alike
    return _typo(name, other)


def _typo(name: str, other: str) -> tuple[int, str] | None:
    distance = _distance(name, other, most=2)
    if distance == 1 and len(name) >= MIN_TYPO_CHARS and len(_core(other)) >= MIN_TYPO_CHARS - 2:
        return 5, "it differs by one letter"
    if distance == 2 and len(_core(other)) >= MIN_TWO_TYPOS_CHARS:
        return 7, "it differs by two letters"
    return None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[@/._-]+", name) if word]


def _squeezed(name: str) -> str:
    return "".join(_words(name))


def _core(name: str) -> str:
    """What is left of a name without the words that every such package has."""
    return "".join(word for word in _words(name) if word not in _GENERIC)


def _folded(name: str) -> str:
    for letters, letter in _LOOK_ALIKE:
        name = name.replace(letters, letter)
    return name


def _distance(one: str, other: str, *, most: int) -> int:
    """Letters to add, drop, change or swap; more than `most` is `most + 1`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before, row = list[int](), list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, its in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    names: Mapping[Ecosystem, frozenset[str]]
    misleading: Mapping[Ecosystem, Mapping[str, str]]


@lru_cache(maxsize=1)
def _known() -> _Known:
    text = files("sekisho.install").joinpath("known_names.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    misleading = data["misleading"]
    return _Known(
        names={"npm": frozenset(data["npm"]), "pypi": frozenset(data["pypi"])},
        misleading={"npm": misleading.get("npm", {}), "pypi": misleading.get("pypi", {})},
    )
