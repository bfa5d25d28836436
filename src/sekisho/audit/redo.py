"""What stands in the redo file: copies of the log's last lines, made durable sooner than the log itself.

Guarantees
- An entry is a stretch of the log as it stood, under a checksum: one that was not written to its end is no
  entry. No stretch of a log can be mistaken for one, because a line of it has no NUL.
- No entry is written over before the log itself is on disk as far as the entry goes.
- What entries add to a log is added once: an entry repeats the OVERLAP_BYTES before its own, and everything
  that it says of what is in the log already must be what is there. A gap or a contradiction is `Tampered`.

Values only: no file, no clock. `redo_file` writes and reads it, and says when.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from sekisho.errors import Tampered

__all__ = ["BLOCK_BYTES", "HEAD_BYTES", "MAX_ENTRY_BLOCKS", "OVERLAP_BYTES", "Entry", "Ring"]
__all__ += ["lacking", "read_entries", "seal"]

BLOCK_BYTES: Final = 4096  # what every disk that can be written directly takes as one piece
MAX_ENTRY_BLOCKS: Final = 16  # more than that goes to the log itself quicker
OVERLAP_BYTES: Final = 64  # holds a time or an id of the record before, so an entry fits to one log only

_MAGIC: Final = b"redo\x00v1\x00"
_CHECK: Final = 16
_HEAD: Final = struct.Struct("<8s16sQQQ")  # magic, checksum of what follows; start, first new byte, end
HEAD_BYTES: Final = _HEAD.size
_CHECKED_FROM: Final = 24


class Entry(NamedTuple):
    """The log's bytes from `start` on; those before `fresh` were on disk when it was written."""

    start: int
    fresh: int
    data: bytes

    @property
    def end(self) -> int:
        """Where it ends in the log."""
        return self.start + len(self.data)


def seal(piece: memoryview, start: int, fresh: int, end: int) -> None:
    """Make an entry of `piece`, which has the bytes of the log behind HEAD_BYTES."""
    _HEAD.pack_into(piece, 0, _MAGIC, bytes(_CHECK), start, fresh, end)
    piece[8:_CHECKED_FROM] = blake2b(piece[_CHECKED_FROM:], digest_size=_CHECK).digest()


def read_entries(data: bytes) -> Iterator[Entry]:
    """Yield every whole entry, in no particular order; what was not written to its end is passed over."""
    at = 0
    while at < len(data):
        entry = _entry_at(data, at)
        if entry is None:
            at += BLOCK_BYTES
        else:
            yield entry
            at += BLOCK_BYTES * blocks_of(len(entry.data))


def blocks_of(length: int) -> int:
    """Return how many blocks an entry of so many bytes of the log takes."""
    return -(-(HEAD_BYTES + length) // BLOCK_BYTES)


def _entry_at(data: bytes, at: int) -> Entry | None:
    if not data.startswith(_MAGIC, at) or len(data) - at < HEAD_BYTES:
        return None
    _, check, start, fresh, end = _HEAD.unpack_from(data, at)
    if not start <= fresh < end or blocks_of(end - start) > MAX_ENTRY_BLOCKS:
        return None
    checked = data[at + _CHECKED_FROM : at + HEAD_BYTES + end - start]
    if blake2b(checked, digest_size=_CHECK).digest() != check:
        return None
    return Entry(start, fresh, checked[HEAD_BYTES - _CHECKED_FROM :])


def lacking(entries: Iterable[Entry], length: int, read: Callable[[int, int], bytes]) -> bytes:
    """Return what a log of `length` bytes lacks; `read` returns its bytes from one place to another.

    Raises:
        Tampered: The entries are not those of this log, or some that somebody relied on are gone.
    """
    lost = b""
    for entry in sorted(entries):
        end = length + len(lost)
        if entry.fresh > end:
            raise Tampered(
                "log_tampered", f"the log lacks bytes {end} to {entry.fresh}, and so does its redo file"
            )
        known = min(end, entry.end)
        there = read(entry.start, min(known, length)) if entry.start < length else b""
        there += lost[max(0, entry.start - length) : max(0, known - length)]
        if there != entry.data[: known - entry.start]:
            raise Tampered("log_tampered", f"the log and its redo file differ behind byte {entry.start}")
        lost += entry.data[known - entry.start :]
    return lost


class Ring:
    """Which blocks of the file are free."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._at = 0
        self._live: deque[tuple[int, int]] = deque()  # the first block of an entry, and its end in the log

    def place(self, blocks: int) -> int | None:
        """Return the first of so many free blocks in a row; None when there are none just now."""
        live, at, last = self._live, self._at, self._blocks
        oldest = live[0][0] if live else None
        if oldest is not None and at <= oldest:  # we came round: never so far that we meet the oldest
            return at if at + blocks < oldest else None
        if at + blocks <= last:
            return at
        return 0 if blocks < (last + 1 if oldest is None else oldest) else None

    def take(self, at: int, blocks: int, end: int) -> None:
        """These blocks hold an entry that ends at `end` of the log."""
        self._live.append((at, end))
        self._at = at + blocks

    def release(self, length: int) -> None:
        """The log itself is on disk up to `length`: entries up to there are not needed any more."""
        while self._live and self._live[0][1] <= length:
            self._live.popleft()
