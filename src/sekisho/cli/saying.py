"""How the command line speaks: results on standard output, diagnostics on standard error.

Guarantees one form for people and one for programs, chosen by `--json`; on a terminal tables are drawn by
rich, elsewhere they are plain columns. Values are printed as text, never as markup; whoever chose their characters,
none of them moves a cursor, turns the direction of writing or hides: those are shown by code point, in JSON as an escape.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

from sekisho.errors import SekishoError

__all__ = ["as_line", "as_text", "ask", "columns", "note", "say", "say_error", "say_json", "say_trouble"]

MIN_LAST: Final = 16  # characters that the last cell of a table needs to be read


def say(lines: Iterable[str]) -> None:
    """Print lines of a result."""
    for line in lines:
        sys.stdout.write(as_text(line, keep="\n\t") + "\n")


def say_json(value: object) -> None:
    """Print a result for a program: one JSON document, one line."""
    sys.stdout.write(_as_json(value) + "\n")


def _as_json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=not _is_unicode(sys.stdout), default=_plain)
    if text.isascii() and text.isprintable():
        return text
    from sekisho.detect.hidden import is_hidden  # noqa: PLC0415 - most texts are plain

    return "".join(json.dumps(char)[1:-1] if is_hidden(char) else char for char in text)


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().startswith("utf")


def as_text(text: str, *, keep: str = "") -> str:
    """A text that may be printed: on one line, unless `keep` says otherwise, with nothing in it that acts or hides."""
    if text.isascii() and text.isprintable():
        return text
    from sekisho.detect.hidden import visible  # noqa: PLC0415 - most texts are plain

    return visible(text, keep=keep)


def _plain(value: object) -> object:
    """What json does not know: paths, sets and slotted values."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, frozenset | set):
        return sorted(value, key=str)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")


def note(line: str) -> None:
    """Print a diagnostic. Where nobody can take it, the exit status still says how it ended."""
    with suppress(OSError):
        sys.stderr.write(as_text(line, keep="\n\t") + "\n")


def columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; every cell is one line."""
    rows = [[as_text(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(names, rows)
        return
    widths = [max(len(row[index]) for row in [names, *rows]) for index in range(len(names))]
    for row in [names, *rows]:
        say(["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()])


def _draw(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - drawing is for terminals
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=sys.stdout)
    widths = [max(len(row[index]) for row in [names, *rows]) for index in range(len(names))]
    if sum(widths[:-1]) + len(widths) + MIN_LAST > console.width:  # broken words are no table
        _list(names, rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _list(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """For a narrow terminal: a row is a paragraph, and a cell a line of it."""
    for index, row in enumerate(rows):
        say([""] if index else [])
        say(f"{name}: {cell}" for name, cell in zip(names, row, strict=True) if cell)


def as_line(fields: Mapping[str, Any]) -> str:
    """Plain fields on one line, those without a value left out."""
    return " ".join(
        f"{key}={one if _is_word(str(one)) else json.dumps(one)}" for key, one in fields.items() if one != ""
    )


def _is_word(text: str) -> bool:
    """Stays one field of one line: no blank, no line break, nothing that a reader would not see."""
    return text.isprintable() and " " not in text


def ask(question: str) -> bool:
    """Put a yes/no question to the person at the terminal; anything but yes is no."""
    sys.stderr.write(f"{as_text(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def say_error(error: SekishoError, status: int, *, as_json: bool) -> int:
    """Print what happened and what to do next; returns the exit status."""
    if as_json:
        told = {"code": error.code, "message": error.message, "remedy": error.remedy}
        note(_as_json({"error": told}))
    else:
        note(as_text(f"sekisho: {error.message}"))
        note(as_text(f"{'→' if _is_unicode(sys.stderr) else '->'} {error.remedy}"))
    return status


def say_trouble(trouble: BaseException, status: int, *, as_json: bool) -> int:
    """Print a fault of ours: where it happened, not what was in memory."""
    frames = traceback.extract_tb(trouble.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    fault = SekishoError(
        "internal",
        f"a fault of sekisho: {type(trouble).__name__}{place}",
        remedy="report it with the command you typed",
    )
    return say_error(fault, status, as_json=as_json)
