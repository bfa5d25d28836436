"""Covers over parts of a plugin's /proc, placed from outside while bwrap waits: it would read the table of all mounts for
each of them.

Guarantees
- what is covered is the /proc of the process namespace that was just made, and nothing else: one in which we have no
  number, at the place where bwrap builds;
- it is the caller's mount namespace, and the caller waits: whoever died meanwhile is not mistaken for another;
- we are back in our own when this returns or fails; whatever is missing fails.

Needs the right to mount that root has. Knows no plan: it carries out a list.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Sequence
from typing import Final

from sekisho.launcher.calls import call
from sekisho.launcher.folders import MOVE_FROM_EMPTY, MOVE_TO_EMPTY, beneath
from sekisho.launcher.kernel import libc
from sekisho.launcher.mounts import NODEV, NOSUID, RDONLY, copied, fresh, open_plain

__all__ = ["Covers"]

NEW_PROC: Final = "/newroot/proc"  # where bwrap builds it, until it has left the old root
PROC_MAGIC: Final = 0x9FA0
CLONE_NEWNS: Final = 0x2_0000
COVER_BYTES: Final = 4096
READ_ONLY: Final = NOSUID | NODEV | RDONLY
STATFS_BYTES: Final = 256  # it has 120; its first word says what kind of file system it is
_KIND: Final = struct.Struct("@l")


class Covers:
    """What lies ready to be placed: a mount of its own for each, because none can be copied from elsewhere.

    Args:
        listed: what is covered, below /proc, and the part of the host that covers it; an empty folder where none is.
    """

    def __init__(self, listed: Sequence[tuple[str, str]]) -> None:
        sources = {source: open_plain(source) for source in {source for _, source in listed if source}}
        self._listed = [
            (path, copied(sources[source], READ_ONLY) if source else empty_folder())
            for path, source in listed
        ]
        for fd in sources.values():
            os.close(fd)
        self._ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def place(self, pid: int, still_waits: Callable[[], bool]) -> None:
        """Cover them all in the mount namespace of a process that waits for us.

        Raises:
            OSError: one of them cannot be covered, or this is not what we know of bwrap; some may be covered.
        """
        theirs = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        if not still_waits() or os.path.samestat(os.fstat(theirs), os.fstat(self._ours)):
            raise OSError(errno.ESRCH, "who raises the walls is gone")
        call("setns", theirs, CLONE_NEWNS)
        try:
            proc = new_proc()
            for path, mount in self._listed:
                cover(proc, path, mount)
            os.close(proc)
        finally:
            call("setns", self._ours, CLONE_NEWNS)
            os.close(theirs)
        os.close(self._ours)


def new_proc() -> int:
    """The /proc that bwrap has mounted."""
    proc = open_plain(NEW_PROC)
    found = ctypes.create_string_buffer(STATFS_BYTES)
    if libc.fstatfs(proc, found) != 0 or _KIND.unpack_from(found) != (PROC_MAGIC,):
        raise OSError(errno.EINVAL, f"{NEW_PROC} is no /proc")
    try:
        os.readlink("self", dir_fd=proc)
    except FileNotFoundError:  # nobody of our number is in that namespace
        return proc
    raise OSError(errno.EINVAL, f"{NEW_PROC} shows the host's processes")


def cover(proc: int, path: str, mount: int) -> None:
    """One of them."""
    target = beneath(proc, path.removeprefix("/proc/"))
    call("move_mount", mount, b"", target, b"", MOVE_FROM_EMPTY | MOVE_TO_EMPTY)
    os.close(target)
    os.close(mount)


def empty_folder() -> int:
    """Nothing is in it, and nothing can be put there."""
    return fresh("tmpfs", {"size": str(COVER_BYTES), "mode": "0555"}, READ_ONLY)
