"""The file under the log: locked against other writers, added to whole or not at all.

Guarantees: a second writer is turned away (flock), or all hold the lock of those who take turns; what `append`
could not write completely is cut off again, before anything else is written; a file that somebody else
lengthened, shortened or removed is not written to again. Knows bytes, no records.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Self

from sekisho.errors import Misconfigured, Tampered, Unavailable
from sekisho.keys.files import sync_folder

__all__ = ["LogFile", "foreign"]


class LogFile:
    """One growing file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.length = os.fstat(descriptor).st_size
        self.descriptor = descriptor
        # The kernel tells a failed write-back once to each opening of a file. Two threads that sync at the same
        # time need two, or one of them could hear that all went well.
        self._behind = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self.is_torn = False
        self.was_cut = False  # bytes that were taken back may still stand on the disk, where others stand now

    @classmethod
    def open_locked(cls, path: Path) -> Self:
        """Open or create the file at `path` for this process alone.

        Raises:
            OSError: The path cannot be used.
            Misconfigured: Another process writes this log.
        """
        file = cls.open_unlocked(path)
        if not file.lock_alone():
            file.close()
            raise foreign(path)
        return file

    @classmethod
    def open_unlocked(cls, path: Path) -> Self:
        """Open or create the file at `path`; nothing may be written before one of the locks is held."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            sync_folder(path.parent)  # a new file survives a power cut only when its name does
            return cls(path, descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def lock_alone(self) -> bool:
        """Lock the file for this process; False when others write it, and then every lock is lost."""
        return self._lock(fcntl.LOCK_EX)

    def lock_with_others(self) -> bool:
        """Lock the file against a writer who is alone; False when there is one."""
        return self._lock(fcntl.LOCK_SH)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def reader(self) -> BinaryIO:
        """Return a reader over the whole file as it is now."""
        file = os.fdopen(os.dup(self.descriptor), "rb")
        file.seek(0)
        return file

    def cut(self, length: int) -> None:
        """Cut off everything beyond `length`."""
        os.ftruncate(self.descriptor, length)
        self.length = length

    def append(self, data: bytes) -> None:
        """Add all of `data`, or nothing.

        Raises:
            Unavailable: The disk did not take it; trying again may work.
            Tampered: The file is not as this process left it.
        """
        try:
            if self.is_torn:
                self._roll_back()
            state = os.fstat(self.descriptor)
        except OSError as problem:
            raise _refused(problem) from problem
        if state.st_size != self.length or state.st_nlink == 0:
            raise Tampered("log_tampered", f"somebody else changed or removed the log {self.path}")
        self.add(data)

    def add(self, data: bytes) -> None:
        """Do the same, for who has looked at the file."""
        try:
            self.is_torn = True  # until every byte is there
            written = os.write(self.descriptor, data)
            while written < len(data):  # a second write tells why the first was short
                written += os.write(self.descriptor, data[written:])
        except OSError as problem:
            with contextlib.suppress(OSError):  # else the next append rolls back before it writes
                self._roll_back()
            raise _refused(problem) from problem
        self.is_torn = False
        self.length += len(data)

    def _roll_back(self) -> None:
        os.ftruncate(self.descriptor, self.length)
        self.is_torn, self.was_cut = False, True

    def sync(self) -> None:
        """Wait until everything appended is on the disk."""
        os.fdatasync(self.descriptor)

    def sync_behind(self) -> None:
        """Do the same from another thread, at the same time as `sync`."""
        os.fdatasync(self._behind)

    def check_in_place(self) -> None:
        """Make sure that the path still leads to this file.

        Raises:
            Tampered: The file was removed, renamed or replaced.
        """
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self.descriptor))
        except FileNotFoundError:
            same = False
        if not same:
            raise Tampered(
                "log_tampered", f"the log {self.path} was removed or replaced while it was written"
            )

    def close(self) -> None:
        """Close the file and give up the lock."""
        os.close(self._behind)
        os.close(self.descriptor)


def foreign(path: Path) -> Misconfigured:
    """Return the error of who comes second."""
    return Misconfigured(
        "log_unavailable",
        f"another process writes the log {path}",
        remedy="stop the other gateway, or give this one its own logging path",
    )


def _refused(problem: OSError) -> Unavailable:
    return Unavailable("log_unavailable", f"the log cannot be written: {problem.strerror}")
