"""The log file as records: whole lines read forward, or the last few read backward.

Guarantees: a record is what stands before a line end; bytes after the last line end are told apart as torn,
never taken for a record; a file without line ends cannot exhaust memory. Knows nothing of trees and keys.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from sekisho.errors import SekishoError, Unavailable
from sekisho.protocol import JsonLimits, check_text

__all__ = ["RECORD_LIMITS", "numbered", "read_records", "tail", "unreadable"]

MAX_LINE_BYTES: Final = 65_536  # an entry of at most 65,535 bytes and its line end
_BLOCK_BYTES: Final = 1 << 16
# Ours are a few levels deep; what an intruder wrote must not be read by one interpreter and left out by another.
RECORD_LIMITS: Final = JsonLimits(max_bytes=MAX_LINE_BYTES)


def read_records(file: BinaryIO, length: int | None = None) -> Iterator[tuple[bytes, bool]]:
    """Yield each record without its line end, and True; then what is torn off at the end, and False.

    With a `length`, no record is read that begins behind so many bytes.
    """
    readline = file.readline
    left = sys.maxsize if length is None else length
    while left > 0 and (line := readline(MAX_LINE_BYTES)):
        left -= len(line)
        if line[-1] != 0x0A:
            yield line, False
            return
        yield line[:-1], True


def unreadable(path: Path, problem: OSError) -> Unavailable:
    """Return the error that says that a log cannot be read."""
    remedy = "check its owner and the disk"
    if isinstance(problem, FileNotFoundError):
        remedy = "nothing was recorded there yet: start sekisho, or name the file that says where it records"
    return Unavailable("log_unavailable", f"the log {path} cannot be read: {problem.strerror}", remedy=remedy)


def numbered(record: bytes, index: int) -> bool:
    """True when the record says that it is number `index`; the journal always writes that first."""
    return record.startswith(b'{"n":%d,' % index)


def tail(path: Path, count: int) -> list[dict[str, object]]:
    """Return the last `count` records, oldest first; a torn line and lines that are not records are left out.

    Raises:
        Unavailable: The log cannot be read.
    """
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            lines = _last_lines(file, count)
    except OSError as problem:
        raise unreadable(path, problem) from problem
    found: list[dict[str, object]] = []
    for line in lines:
        try:
            check_text(line, RECORD_LIMITS)
            found.append(msgspec.json.decode(line, type=dict[str, object]))
        except (SekishoError, msgspec.DecodeError, UnicodeDecodeError):
            continue  # `verify` reports it; a view of the end must not stop there
    return found


def _last_lines(file: BinaryIO, count: int) -> list[bytes]:
    at = file.seek(0, os.SEEK_END)
    bound = count * MAX_LINE_BYTES
    data = b""
    while at > 0 and data.count(b"\n") <= count and len(data) < bound:
        step = min(_BLOCK_BYTES, at)
        at -= step
        file.seek(at)
        data = file.read(step) + data
    lines = data.split(b"\n")[:-1]  # what follows the last line end is torn or empty
    if at > 0:
        lines = lines[1:]  # the first may have begun before the part that was read
    return lines[-count:]
