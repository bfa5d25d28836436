"""How long the log is, in memory that its writers share: what stands, and what one of them is about to add.

Guarantees: what stands changes by one store of one byte (`commit`), so it is right after every single store of
a process that is killed. Before a writer adds bytes it says what it will add (`announce`); whoever finds the
file longer than what stands can tell a dead writer's batch from the bytes of a stranger. Everything here is
only read and written by who has the turn (`turn`), except the flags and `signed`. Is not synced:
after a power cut, and whenever nobody else writes, the leader counts anew.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple, Self

from sekisho.errors import Unavailable

__all__ = ["Counters", "Extent"]

_MAGIC: Final = b"sekisho1"
_HEAD: Final = struct.Struct("=8sQQ")  # what this file is, and which file it counts: device and inode
_SLOT: Final = struct.Struct("=QQQQ")  # base, records, bytes, check
_SIGNED: Final = struct.Struct("=Q")
_ACTIVE, _READY, _STOPPED, _SIGNS, _SIGNED_AT = 24, 25, 26, 27, 32
_SLOT_AT: Final = (64, 128)
_FILE_BYTES: Final = 192


class Extent(NamedTuple):
    """A log of so many records in so many bytes."""

    records: int
    length: int


class Counters:
    """The shared memory beside one log."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _FILE_BYTES)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Open the counters at `path`, or make them."""
        return cls._open(path, os.O_CREAT)

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Open the counters at `path`.

        Raises:
            Unavailable: There are none: no leader has opened the log.
        """
        try:
            return cls._open(path, 0)
        except FileNotFoundError as problem:
            raise Unavailable("log_unavailable", "no leader has opened the log yet") from problem

    @classmethod
    def _open(cls, path: Path, more: int) -> Self:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | more, 0o600)
        try:
            if (
                more
            ):  # its block is taken now: a store into a mapped hole of a full disk would kill the process
                os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            elif os.fstat(descriptor).st_size < _FILE_BYTES:
                raise Unavailable("log_unavailable", "no leader has opened the log yet")
            return cls(descriptor)
        except (OSError, Unavailable):
            os.close(descriptor)
            raise

    def begin(self, log: os.stat_result, extent: Extent, *, is_signed: bool) -> None:
        """Count the log anew. Only for a leader who is alone."""
        self._memory[:] = bytes(_FILE_BYTES)
        self._memory[_SIGNS] = is_signed
        self._write_slot(0, extent.length, extent)
        _HEAD.pack_into(self._memory, 0, _MAGIC, log.st_dev, log.st_ino)

    def counts(self, log: os.stat_result) -> bool:
        """True when these are the counters of that file."""
        return _HEAD.unpack_from(self._memory, 0) == (_MAGIC, log.st_dev, log.st_ino)

    @property
    def is_ready(self) -> bool:
        """True once the leader has checked the log: others may join."""
        return self._memory[_READY] == 1

    @is_ready.setter
    def is_ready(self, value: bool) -> None:
        self._memory[_READY] = value

    @property
    def is_stopped(self) -> bool:
        """True when one writer found the log changed by a stranger, or could not sync it: nobody writes on."""
        return self._memory[_STOPPED] == 1

    def stop(self) -> None:
        """Let no writer write on."""
        self._memory[_STOPPED] = 1

    @property
    def is_signed(self) -> bool:
        """True when the leader signs the log."""
        return self._memory[_SIGNS] == 1

    @property
    def signed(self) -> int:
        """How many records have a checkpoint over them; the leader says so, in one store."""
        found: int = _SIGNED.unpack_from(self._memory, _SIGNED_AT)[0]
        return found

    @signed.setter
    def signed(self, records: int) -> None:
        _SIGNED.pack_into(self._memory, _SIGNED_AT, records)

    def standing(self) -> Extent:
        """Return what stands."""
        _, records, length, _ = _SLOT.unpack_from(self._memory, _SLOT_AT[self._memory[_ACTIVE]])
        return Extent(records, length)

    def announce(self, base: int, extent: Extent) -> None:
        """Say what the log will be when the bytes to be written at `base` are there."""
        self._write_slot(1 - self._memory[_ACTIVE], base, extent)

    def announced(self) -> Extent | None:
        """Return what was announced on top of what stands, or None."""
        base, records, length, check = _SLOT.unpack_from(self._memory, _SLOT_AT[1 - self._memory[_ACTIVE]])
        standing = self.standing()
        is_whole = check == _check(base, records, length) and base == standing.length
        return Extent(records, length) if is_whole and records > standing.records else None

    def withdraw(self) -> None:
        """Take the announcement back."""
        _SLOT.pack_into(self._memory, _SLOT_AT[1 - self._memory[_ACTIVE]], 0, 0, 0, 0)

    def commit(self) -> None:
        """What was announced stands now."""
        self._memory[_ACTIVE] = 1 - self._memory[_ACTIVE]

    def close(self) -> None:
        """Let go of the memory; the file stays for the others."""
        self._memory.close()
        os.close(self.descriptor)

    def _write_slot(self, slot: int, base: int, extent: Extent) -> None:
        records, length = extent
        _SLOT.pack_into(self._memory, _SLOT_AT[slot], base, records, length, _check(base, records, length))


def _check(base: int, records: int, length: int) -> int:
    """An all-zero slot must not look like an announcement."""
    return (base ^ records ^ length ^ 0x5EC1_5805_EC15_805E) & 0xFFFF_FFFF_FFFF_FFFF
