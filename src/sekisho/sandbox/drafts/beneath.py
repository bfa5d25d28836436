"""Files below one folder, reached without believing a single name on the way.

Guarantees
- a path is resolved by the kernel beneath an open folder (openat2): no symbolic link is followed, no mount point is
  crossed, nothing above is reached, whoever changes the tree meanwhile;
- what was looked at and what is opened is the same kind of thing: a pipe in the place of a file blocks nobody;
- a tree of any depth and any modes can be removed.

Needs Linux 5.6. Knows no plugin and no rule.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from sekisho.launcher.calls import call
from sekisho.launcher.kernel import libc

__all__ = [
    "FOLDER",
    "birth_ns",
    "entered",
    "entries",
    "filled",
    "open_beneath",
    "open_file",
    "open_root",
    "opened",
    "parent_and_name",
    "remove_tree",
]

NO_XDEV: Final = 0x1
NO_MAGIC: Final = 0x2
NO_SYMLINKS: Final = 0x4
BENEATH: Final = 0x8
AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
STATX_BTIME: Final = 0x800
STATX_BYTES: Final = 256
BTIME_OFFSET: Final = 80  # struct statx: seconds as 64 bits, then nanoseconds as 32
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_root(path: str) -> int:
    """A folder by its absolute path; a link anywhere in it is refused."""
    return _openat2(AT_FDCWD, path, FOLDER, NO_SYMLINKS)


def open_beneath(folder: int, path: str, flags: int = FOLDER) -> int:
    """What `path` names below an open folder; "" is the folder itself."""
    return _openat2(folder, path or ".", flags | os.O_CLOEXEC, BENEATH | NO_SYMLINKS | NO_MAGIC | NO_XDEV)


def _openat2(folder: int, path: str, flags: int, resolve: int) -> int:
    how = struct.pack("=QQQ", flags, 0, resolve)
    try:
        return call("openat2", folder, os.fsencode(path), how, len(how))
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number), path) from error


@contextmanager
def opened(fd: int) -> Iterator[int]:
    """Close it at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def entered(parent: int, name: str) -> Iterator[int]:
    """One folder in an open one; while this lasts it is open to us, if it is ours, whatever its mode says.

    Raises:
        OSError: it is no folder, a link, or the place of another file system.
    """
    with opened(open_beneath(parent, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)) as named:
        found = os.fstat(named)
        mode = stat.S_IMODE(found.st_mode)
        is_closed = mode & stat.S_IRWXU != stat.S_IRWXU and found.st_uid == os.geteuid() != 0
        place = f"/proc/self/fd/{named}"  # the thing itself, whatever its name means by now
        if is_closed:
            os.chmod(place, mode | stat.S_IRWXU)  # noqa: PTH101 - a descriptor's own name
        try:
            with opened(os.open(".", FOLDER, dir_fd=named)) as folder:
                yield folder
        finally:
            if is_closed:
                os.chmod(place, mode)  # noqa: PTH101


@contextmanager
def parent_and_name(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The open folder in which `path` stands, and its last name."""
    *above, name = path.split("/")
    with ExitStack() as stack:
        folder = root
        for part in above:
            folder = stack.enter_context(entered(folder, part))
        yield folder, name


def open_file(parent: int, name: str) -> int:
    """One regular file in an open folder.

    Raises:
        OSError: it is something else now.
    """
    fd = _open_ours(parent, name)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ESTALE, "it changed while it was read", name)
    return fd


def _open_ours(parent: int, name: str) -> int:
    """A file of ours that its mode closes to us is opened for a moment."""
    try:
        return os.open(name, FILE, dir_fd=parent)
    except PermissionError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            raise
    mode = stat.S_IMODE(found.st_mode)
    with opened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as named:
        place = f"/proc/self/fd/{named}"
        os.chmod(place, mode | stat.S_IRUSR)  # noqa: PTH101
        try:
            return os.open(name, FILE, dir_fd=parent)
        finally:
            os.chmod(place, mode)  # noqa: PTH101


def entries(folder: int, most: int) -> dict[str, os.stat_result]:
    """What stands in an open folder, by name.

    Raises:
        OSError: more than `most`.
    """
    found: dict[str, os.stat_result] = {}
    with os.scandir(folder) as listing:
        for entry in listing:
            if len(found) >= most:
                raise OSError(errno.E2BIG, "too many entries")
            with contextlib.suppress(FileNotFoundError):
                found[entry.name] = entry.stat(follow_symlinks=False)
    return dict(sorted(found.items()))


def filled(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that hold something: a hole costs the plugin nothing, and shall cost us nothing."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def birth_ns(folder: int, name: str) -> int | None:
    """When the file system made this entry; None where it does not say. Nobody can set it."""
    buffer = ctypes.create_string_buffer(STATX_BYTES)
    path = os.fsencode(name)
    if libc.statx(folder, path, AT_SYMLINK_NOFOLLOW, STATX_BTIME, buffer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", buffer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, BTIME_OFFSET)
    return int(seconds * 1_000_000_000 + nanoseconds) if mask & STATX_BTIME else None


def remove_tree(parent: int, name: str) -> None:
    """Remove what `name` is in an open folder, with everything below it; no depth and no mode stands in the way."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    # Folders found inside are moved up beside it one by one, so the depth never matters.
    waiting, number = [name], 0
    while waiting:
        here = waiting.pop()
        os.chmod(here, stat.S_IRWXU, dir_fd=parent)
        with opened(os.open(here, FOLDER, dir_fd=parent)) as folder:
            for entry in os.listdir(folder):  # noqa: PTH208
                inner = os.stat(entry, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISDIR(inner.st_mode):
                    os.unlink(entry, dir_fd=folder)
                    continue
                number += 1
                raised = f"{name}.{number}"
                os.chmod(entry, stat.S_IRWXU, dir_fd=folder)
                os.rename(entry, raised, src_dir_fd=folder, dst_dir_fd=parent)
                waiting.append(raised)
        os.rmdir(here, dir_fd=parent)
