"""Finds the line on which each key of a TOML document stands.

Guarantees, for a text that `tomllib` accepts: every key written as `key = …` or as a table header has its
line. Keys inside inline tables and arrays are found at the line of the key that holds them. It does not parse
values; it only steps over them, so that a bracket or a `#` in a string is not mistaken for structure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["KeyPath", "Source", "key_lines"]

KeyPath = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY_PART: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*""")
# One step over a value: a string in any of the four spellings, a comment, or one other character.
_STEP: Final = re.compile(
    r'''"""(?:[^"\\]|\\(?s:.)|"(?!""))*"{3,5}|\'\'\'(?:[^']|'(?!''))*'{3,5}'''
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|(?s:.)"""
)


@dataclass(frozen=True, slots=True)
class Source:
    """The file a configuration came from, and where its keys stand."""

    path: Path = Path("sekisho.toml")
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def line(self, key: KeyPath) -> int:
        """The line of a key, else of the nearest table that would hold it, else the first."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return self.lines[key[:length]]
        return 1

    def at(self, key: KeyPath) -> str:
        """`FILE:LINE: KEY`, the beginning of every message about a configuration."""
        return f"{self.path}:{self.line(key)}: {dotted(key)}" if key else f"{self.path}:1"


def dotted(key: KeyPath) -> str:
    """A key as a person writes it: `plugins.servers[2].name`, counted from one."""
    shown = ""
    for part in key:
        shown += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown


def key_lines(document: str) -> dict[KeyPath, int]:
    """The line of every key; the document must already have been accepted by tomllib."""
    # tomllib reads \r\n as \n; doing the same keeps one spelling of "end of line" below.
    walker = _Walker(document.replace("\r\n", "\n"))
    while walker.statement():
        pass
    return walker.lines


class _Walker:
    """Steps through the statements of one document."""

    def __init__(self, document: str) -> None:
        self.text = document
        self.position = 0
        self.counted_to = 0
        self.line = 1
        self.table: KeyPath = ()
        self.rows: dict[KeyPath, int] = {}
        self.lines: dict[KeyPath, int] = {}

    def statement(self) -> bool:
        self._skip(_BLANK)
        if self.position >= len(self.text):
            return False
        line = self._line_here()
        if self.text.startswith("[[", self.position):
            self.position += 2
            self._open_row(self._key(), line)
            self._value()
        elif self.text[self.position] == "[":
            self.position += 1
            self.table = self._resolve(self._key())
            self._note(self.table, line)
            self._value()
        else:
            self._note(self.table + self._key(), line)
            self._value()
        return True

    def _open_row(self, key: tuple[str, ...], line: int) -> None:
        array = (*self._resolve(key[:-1]), key[-1])
        self._note(array, line)
        row = self.rows.get(array, -1) + 1
        self.rows[array] = row
        self.table = (*array, row)
        self._note(self.table, line)

    def _resolve(self, key: tuple[str, ...]) -> KeyPath:
        """A header names arrays of tables without index; it means their latest row."""
        resolved: KeyPath = ()
        for part in key:
            resolved += (part,)
            if resolved in self.rows:
                resolved += (self.rows[resolved],)
        return resolved

    def _note(self, key: KeyPath, line: int) -> None:
        for length in range(1, len(key) + 1):
            self.lines.setdefault(key[:length], line)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while found := _KEY_PART.match(self.text, self.position):
            parts.append(_plain(found[1]))
            self.position = found.end()
            if not self.text.startswith(".", self.position):
                break
            self.position += 1
        return tuple(parts)

    def _value(self) -> None:
        """Step to the end of the statement: the first line end outside every bracket and string."""
        depth = (
            1 if self.text.startswith("]", self.position) else 0
        )  # the rest of a header closes what was opened
        for step in _STEP.finditer(self.text, self.position):
            mark = step[0]
            if mark == "\n" and depth <= 0:
                return
            depth += (mark in "[{") - (mark in "]}") if len(mark) == 1 else 0
            self.position = step.end()

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def _line_here(self) -> int:
        self.line += self.text.count("\n", self.counted_to, self.position)
        self.counted_to = self.position
        return self.line


def _plain(part: str) -> str:
    if part[0] not in "\"'":
        return part
    return str(tomllib.loads(f"k = {part}")["k"])
