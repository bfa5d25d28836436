"""One rule of the content scan: what it looks for, where, and what a hit means.

Guarantees that a pattern means the same to both engines: it is turned into ASCII regular syntax over bytes, where
every character beyond ASCII stands as the group of its UTF-8 bytes, so that a quantifier takes the whole
character. `(?i)` folds ASCII letters only; the byte groups are taken out of it, because one engine would fold
byte C3 onto E3.

Patterns are written for JSON text as it travels, in our own emission: no blanks between tokens, what is beyond
ASCII as UTF-8, escapes only for control characters, quotation marks and backslashes. JSON inside a string carries
more backslashes at each level, so separators allow several of them.

Every rule has keys: short patterns of which every match holds at least one, and a reach that no match exceeds.
So it is enough to look for the keys, all rules in one pass, and to judge a pattern only around them; the verdict is
the same as over the whole text. Tests hold every rule to both promises.

Knows neither the engines nor the tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = [
    "GAP",
    "START",
    "Group",
    "Place",
    "Rule",
    "Severity",
    "near",
    "rule",
    "starts",
    "wire_pattern",
]

# Between two words: blanks, punctuation, markdown, escaped line breaks, and any non-ASCII byte, so that no-break
# spaces and single invisible characters do not part a sentence.
GAP: Final = r"(?:[ \t,.:;*_\"'`~>#()<\\/!|\x80-\xFF-]|\\[nrt]){1,8}"
# The opening quotation mark of a JSON string. Inside a string a quotation mark has a backslash before it.
START: Final = r"[:,\[]\""

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_CLASS: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
# Hyperscan 5.4.12 was seen to miss matches of a pattern with a long bounded repeat; keys do without.
_REPEAT: Final = re.compile(r"\{(?:[0-9]+,)?([0-9]+)\}")
_LONGEST_REPEAT: Final = 8
# Syntax that one engine lacks or reads otherwise: look-around, back references, and what depends on a Unicode mode.
_NOT_SHARED: Final = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[sSdDwWpPXRKGQEhHvVNAzZ0-9]|\(\?[=!<P>#|&R]|[.$^])")


class Group(Enum):
    """What kind of thing a rule looks for."""

    SECRETS = "secrets"
    HIDDEN = "hidden"
    INJECTION = "injection"
    EXFILTRATION = "exfiltration"
    TRAVERSAL = "traversal"
    ADDRESS = "address"
    COMMAND = "command"
    QUERY = "query"
    MARKUP = "markup"


class Place(Enum):
    """What travels past the scan: what a client sends, or what a plugin says."""

    ARGUMENTS = "arguments"
    RESULTS = "results"


class Severity(Enum):
    """What a hit means where refusing is on: remembered, or the end of the call."""

    NOTE = "note"
    REFUSE = "refuse"


BOTH: Final = frozenset(Place)
ARGUMENTS: Final = frozenset({Place.ARGUMENTS})
RESULTS: Final = frozenset({Place.RESULTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A pattern with a name, and one text each that it must leave alone and must find."""

    id: str
    group: Group
    where: frozenset[Place]
    severity: Severity
    finds: str
    pattern: str
    keys: tuple[str, ...]
    harmless: str
    harmful: str
    reach: int = 200

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError(f"{self.id} has no key")
        for one in (self.pattern, *self.keys):
            wire_pattern(one)
        if any(int(most) > _LONGEST_REPEAT for key in self.keys for most in _REPEAT.findall(key)):
            raise ValueError(f"{self.id} has a key with a long repeat")

    @property
    def wire(self) -> bytes:
        """The pattern as an engine reads it."""
        return wire_pattern(self.pattern)

    @property
    def wire_keys(self) -> tuple[bytes, ...]:
        """The keys as an engine reads them; they fold ASCII letters when the pattern does."""
        folds = "(?i)" if self.pattern.startswith("(?i)") else ""
        return tuple(
            wire_pattern(folds + one.removeprefix("(?i)")) if folds else wire_pattern(one)
            for one in self.keys
        )


def rule(
    group: Group,
    name: str,
    finds: str,
    pattern: str,
    *,
    where: frozenset[Place],
    keys: tuple[str, ...],
    harmless: str,
    harmful: str,
    refuse: bool = False,
    reach: int = 200,
) -> Rule:
    """A rule of a group, which is the first half of its id."""
    return Rule(
        id=f"{group.value}.{name}",
        group=group,
        where=where,
        severity=Severity.REFUSE if refuse else Severity.NOTE,
        finds=finds,
        pattern=pattern,
        keys=keys,
        harmless=harmless,
        harmful=harmful,
        reach=reach,
    )


def near(most: int) -> str:
    """At most that many bytes of running text inside one JSON string; sentences may end, strings may not."""
    return rf"[^\"{{}}]{{0,{most}}}"


def starts(*patterns: str) -> tuple[str, ...]:
    """Keys for values that begin so: each behind every way a JSON string can open."""
    return tuple(rf"{before}\"{one}" for one in patterns for before in (":", ",", r"\["))


def wire_pattern(pattern: str) -> bytes:
    """The byte form of a pattern; raises ValueError for syntax the engines do not share."""
    bare = _CLASS.sub(lambda found: found[0] if found[0].startswith("\\") else "[]", pattern)
    if _NOT_SHARED.search(bare.removeprefix("(?i)")):
        raise ValueError(f"not shared by both engines: {pattern!r}")
    for found in _CLASS.finditer(pattern):
        if not found[0].isascii():
            raise ValueError(f"a class holds bytes, not characters: {found[0]!r}")
    return _BEYOND_ASCII.sub(_byte_group, pattern).encode("ascii")


def _byte_group(found: re.Match[str]) -> str:
    return "(?-i:" + "".join(rf"\x{byte:02X}" for byte in found[0].encode()) + ")"
