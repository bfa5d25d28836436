"""Where mounts are placed below a root: folders and files that are made there, and never reached through a link.

Guarantees that neither a place nor a folder on the way to it is a symbolic link, whoever made it and when, and that a
folder is looked for anew as soon as something was mounted on it or above it.

Knows no list and no mount's content.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from typing import Final, Self

from sekisho.launcher.calls import call

__all__ = ["Folders", "beneath", "put", "put_into"]

MOVE_FROM_EMPTY: Final = 0x4
MOVE_TO_EMPTY: Final = 0x40
RESOLVE_NO_SYMLINKS: Final = 0x4
RESOLVE_BENEATH: Final = 0x8


def beneath(root: int, path: str) -> int:
    """The same for a path below an open folder."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH)
    return call("openat2", root, os.fsencode(path.strip("/") or "."), how, len(how))


class Folders:
    """Where things are placed below a root. The folder of the last one stays open: neighbours come one after the other.

    It is opened anew as soon as something was mounted on it, or above it: what is there now is another folder.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self._path = ""
        self._fd = -1

    def __enter__(self) -> Self:
        """Nothing is open yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the last folder."""
        self._leave()

    def above(self, path: str) -> tuple[int, str]:
        """The folder above a path, made where missing, and the last name; the descriptor stays ours."""
        folder, _, name = path.strip("/").rpartition("/")
        if not folder:
            return self.root, name
        if self._fd < 0 or folder != self._path:
            self._leave()
            self._path, self._fd = folder, reach(self.root, folder)
        return self._fd, name

    def put(self, fd: int, path: str) -> None:
        """Attach a detached mount; its place is made when it is not there."""
        parent, name = self.above(path)
        put_into(parent, name, fd)
        if f"{self._path}/".startswith(path.strip("/") + "/"):
            self._leave()

    def _leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def put(root: int, fd: int, path: str) -> None:
    """Attach one detached mount below a folder; its place is made when it is not there."""
    with Folders(root) as folders:
        folders.put(fd, path)


def put_into(parent: int, name: str, fd: int) -> None:
    """The same in an open folder."""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        with contextlib.suppress(
            FileExistsError
        ):  # most are not there: asking first would be a call more for each
            os.mkdir(name, 0o755, dir_fd=parent)
        target = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    else:
        target = empty_file(parent, name)
    call("move_mount", fd, b"", target, b"", MOVE_FROM_EMPTY | MOVE_TO_EMPTY)
    os.close(fd)
    os.close(target)


def empty_file(parent: int, name: str) -> int:
    """A file to be covered: a new one, or the one that is there, unless it is a link."""
    try:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444, dir_fd=parent)
    except FileExistsError:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ELOOP, f"{name} is a link inside")
    return fd


def reach(root: int, path: str) -> int:
    """A folder below the root, made where missing; no link is followed on the way."""
    with contextlib.suppress(FileNotFoundError):
        return beneath(root, path)
    here = os.dup(root)
    for folder in path.split("/"):
        try:
            below = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        except FileNotFoundError:
            os.mkdir(folder, 0o755, dir_fd=here)
            below = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        os.close(here)
        here = below
    return here
