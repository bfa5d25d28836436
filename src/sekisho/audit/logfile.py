"""The file under the log: opened for one writer, added to whole or not at all.

Guarantees: a second writer is turned away (flock); what `append` could not write completely is cut off again,
before anything else is written; a file that somebody else lengthened, shortened or removed is not written to
again. Knows bytes, no records.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Self

from sekisho.errors import Misconfigured, Tampered, Unavailable

__all__ = ["LogFile"]


class LogFile:
    """One locked, growing file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.length = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        # The kernel tells a failed write-back once to each opening of a file. Two threads that sync at the same
        # time need two, or one of them could hear that all went well.
        self._behind = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self._is_torn = False

    @classmethod
    def open_locked(cls, path: Path) -> Self:
        """Open or create the file at `path` for this process alone.

        Raises:
            OSError: The path cannot be used.
            Misconfigured: Another process writes this log.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sync_folder(path.parent)  # a new file survives a power cut only when its name does
        except BlockingIOError as problem:
            os.close(descriptor)
            raise Misconfigured(
                "log_unavailable",
                f"another process writes the log {path}",
                remedy="stop the other gateway, or give this one its own logging path",
            ) from problem
        except OSError:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def reader(self) -> BinaryIO:
        """Return a reader over the whole file as it is now."""
        file = os.fdopen(os.dup(self._descriptor), "rb")
        file.seek(0)
        return file

    def cut(self, length: int) -> None:
        """Cut off everything beyond `length`."""
        os.ftruncate(self._descriptor, length)
        self.length = length

    def append(self, data: bytes) -> None:
        """Add all of `data`, or nothing.

        Raises:
            Unavailable: The disk did not take it; trying again may work.
            Tampered: The file is not as this process left it.
        """
        try:
            if self._is_torn:
                self._roll_back()
            state = os.fstat(self._descriptor)
            if state.st_size != self.length or state.st_nlink == 0:
                raise Tampered("log_tampered", f"somebody else changed or removed the log {self.path}")
            self._is_torn = True  # until every byte is there
            written = os.write(self._descriptor, data)
            while written < len(data):  # a second write tells why the first was short
                written += os.write(self._descriptor, data[written:])
        except OSError as problem:
            with contextlib.suppress(OSError):  # else the next append rolls back before it writes
                self._roll_back()
            raise Unavailable(
                "log_unavailable", f"the log cannot be written: {problem.strerror}"
            ) from problem
        self._is_torn = False
        self.length += len(data)

    def _roll_back(self) -> None:
        os.ftruncate(self._descriptor, self.length)
        self._is_torn = False

    def sync(self) -> None:
        """Wait until everything appended is on the disk."""
        os.fdatasync(self._descriptor)

    def sync_behind(self) -> None:
        """Do the same from another thread, at the same time as `sync`."""
        os.fdatasync(self._behind)

    def check_in_place(self) -> None:
        """Make sure that the path still leads to this file.

        Raises:
            Tampered: The file was removed, renamed or replaced.
        """
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            same = False
        if not same:
            raise Tampered(
                "log_tampered", f"the log {self.path} was removed or replaced while it was written"
            )

    def close(self) -> None:
        """Close the file and give up the lock."""
        os.close(self._behind)
        os.close(self._descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
