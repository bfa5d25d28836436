"""Commands that fetch what they run each time they start, as clients of MCP have them in their files.

Behind walls they find no registry, and hang or fail without a reason that a newcomer could guess. Judgement: says which
line to write instead, and refuses nothing, since a command may find what it needs on this machine already.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

__all__ = ["fetched_at_start"]

# program → what a package of it is called here, and the word that stands between program and package
_FETCHERS: Final = {
    "npx": ("npm:{}@VERSION", ""),
    "bunx": ("npm:{}@VERSION", ""),
    "uvx": ("pypi:{}==VERSION", ""),
    "pipx": ("pypi:{}==VERSION", "run"),
}
_STAYS_HERE: Final = frozenset({"--no", "--no-install", "--offline"})
_TAKES_A_WORD: Final = frozenset(
    {"-p", "--package", "--from", "--python", "--spec", "--with", "-c", "--call"}
)


def fetched_at_start(command: Sequence[str]) -> str | None:
    """Return what to write in the place of `command`, or None for one that fetches nothing."""
    program = PurePosixPath(command[0]).name if command else ""
    if program not in _FETCHERS or _STAYS_HERE.intersection(command):
        return None
    form, verb = _FETCHERS[program]
    words = list(command[1:])
    if verb and verb not in words:
        return None
    return f'package = "{form.format(_package(words, verb))}"'


def _package(words: list[str], verb: str) -> str:
    """The first word that is neither an option nor an option's, without a version; else the word to fill in."""
    while words:
        word = words.pop(0)
        if word in _TAKES_A_WORD:
            if words and word in ("-p", "--package", "--from", "--spec"):
                return _without_version(words[0])
            del words[:1]
        elif not word.startswith("-") and word != verb:
            return _without_version(word)
    return "NAME"


def _without_version(word: str) -> str:
    return word[:1] + word[1:].partition("@")[0].partition("==")[0]
