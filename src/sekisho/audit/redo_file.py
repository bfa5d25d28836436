"""The redo file of a log: what somebody waits for is durable here first, by one write in place.

Guarantees
- `begin(told)` tells None only when everything in the log is on disk: in the log itself, or here.
- It is there before anybody relies on it, its blocks are taken and its name is on disk, so a full disk cannot
  refuse it what it has and a power cut cannot hide it.
- `replay` gives the log what it lacks, and removes this file only when the log is on disk. Done again after a
  crash in its midst, it does the rest. What does not fit stops the opening of the log.
- It is gone after an orderly end. The log never needs it to be read, verified or copied while no machine died.

An fdatasync of a file that grew has the file system write its journal too, and wait for it; a block written over
needs only itself. One writer, in the loop; one write under way at a time. Where the disk or the kernel does not offer
it, there is none, and the log itself is synced. Judgement is in `redo`.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from pathlib import Path
from typing import Final, Self

from sekisho.audit.clerk import Clerk
from sekisho.audit.hand import Told
from sekisho.audit.logfile import LogFile
from sekisho.audit.redo import (
    BLOCK_BYTES,
    HEAD_BYTES,
    MAX_ENTRY_BLOCKS,
    OVERLAP_BYTES,
    Ring,
    blocks_of,
    lacking,
    read_entries,
    seal,
)
from sekisho.keys.files import sync_folder

__all__ = ["FILE_BLOCKS", "RedoFile", "reach", "replay"]

FILE_BLOCKS: Final = 256  # a tenth of a second, until the log is synced anyway, of 2,500 calls a second
ROOM_BYTES: Final = 16 << 20  # a disk with less is left to the log
_FILE_BYTES: Final = FILE_BLOCKS * BLOCK_BYTES
_DIRECT: Final = os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW


class RedoFile:
    """The file beside one open log."""

    def __init__(self, path: Path, log: LogFile, descriptor: int, memory: mmap.mmap) -> None:
        self._path = path
        self._log = log
        self._descriptor = descriptor
        self._memory = memory
        self._view = memoryview(memory)
        self._blocks, self._at = memoryview(b""), 0  # what is written, and where
        self._clerk = Clerk("audit-redo", self._write)
        self._ring = Ring(FILE_BLOCKS)
        self._covered = log.length  # so much of the log is on disk, there or here

    @classmethod
    def create(cls, path: Path, log: LogFile) -> Self | None:
        """Make an empty one for a log that is on disk; None where it cannot be had."""
        if _room(path.parent) < ROOM_BYTES:
            return None
        aside = path.with_name(f".{path.name}.new")
        memory = mmap.mmap(-1, MAX_ENTRY_BLOCKS * BLOCK_BYTES)  # whole pages: O_DIRECT wants them aligned
        try:
            descriptor = os.open(aside, _DIRECT | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError:  # no O_DIRECT here: the log does without
            return None
        try:
            _fill(descriptor, memory)
            aside.replace(path)
            sync_folder(path.parent)
        except OSError:  # no room
            os.close(descriptor)
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            return None
        return cls(path, log, descriptor, memory)

    def begin(self, told: Told) -> bool:
        """Make durable what the log has now; False: nothing has happened, and the log itself has to be synced."""
        if self._clerk.is_busy or self._log.was_cut:
            return False
        end, fresh = self._log.length, self._covered
        start = max(0, fresh - OVERLAP_BYTES)
        blocks = blocks_of(end - start)
        if fresh >= end or blocks > MAX_ENTRY_BLOCKS or (at := self._ring.place(blocks)) is None:
            return False
        piece = self._view[: HEAD_BYTES + end - start]
        try:
            if os.preadv(self._log.descriptor, [piece[HEAD_BYTES:]], start) != end - start:
                return False  # somebody shortened the log; the next append tells
        except OSError:
            return False  # a sync of the log says how the disk is
        seal(piece, start, fresh, end)

        def written(failure: BaseException | None) -> None:
            if failure is None:
                self._covered = max(self._covered, end)
            told(failure)

        self._blocks, self._at = self._view[: blocks * BLOCK_BYTES], at * BLOCK_BYTES
        if not self._clerk.begin(written):
            return False
        self._ring.take(at, blocks, end)
        return True

    def _write(self) -> None:
        """Runs in the clerk's thread; the loop touches neither the piece nor the memory meanwhile."""
        if os.pwritev(self._descriptor, [self._blocks], self._at, os.RWF_DSYNC) != len(self._blocks):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def release(self, length: int) -> None:
        """The log itself is on disk up to `length`."""
        self._covered = max(self._covered, length)
        self._ring.release(length)

    def remove(self) -> None:
        """Remove it: the log is on disk."""
        with contextlib.suppress(OSError):  # what is left says nothing that the log does not say
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back; what is in it stays for `replay`."""
        self._clerk.close()
        os.close(self._descriptor)


def replay(path: Path, log: LogFile) -> None:
    """Give the log what only the redo file at `path` has, sync it, and remove the file.

    Raises:
        OSError: The log cannot be read or synced.
        Unavailable: The disk does not take what the log lacks.
        Tampered: They do not fit together.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        return
    lost = lacking(read_entries(data), log.length, lambda a, b: os.pread(log.descriptor, b - a, a))
    if lost:
        log.add(lost)
    log.sync()
    path.unlink()
    sync_folder(path.parent)


def reach(path: Path) -> int:
    """Return how far a log reaches that has everything the redo file at `path` has; 0 without one."""
    try:
        data = _read(path)
    except FileNotFoundError:
        return 0
    return max((entry.end for entry in read_entries(data)), default=0)


def _room(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _fill(descriptor: int, zeros: mmap.mmap) -> None:
    """Have every block written once: the first write to one changes more than the block."""
    if os.pwritev(descriptor, [zeros] * (_FILE_BYTES // len(zeros)), 0) != _FILE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _read(path: Path) -> bytes:
    descriptor = os.open(
        path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    )  # no pipe may hold us up
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
        return file.read(_FILE_BYTES)
