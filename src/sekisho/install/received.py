"""What a fetch left in its workplace, read from outside the walls.

Whatever ran there read a stranger's words and may have been taken over by them, so nothing that it left is followed or
waited for: a folder is a folder, a file is a file, and a link, a pipe or a device in their place is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from sekisho.errors import Refused
from sekisho.install.locks import MAX_LOCK_BYTES, Wheel, read_wheel_name

__all__ = ["read_lock", "read_wheels", "take_over"]

MAX_WHEELS: Final = 10_000
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_lock(folder: Path, name: str) -> bytes:
    """The lock that an installer wrote, at most one byte more than a lock may have."""
    with _opened(folder) as inside, _file(inside, name) as file:
        return file.read(MAX_LOCK_BYTES + 1)


def read_wheels(folder: Path) -> Iterator[Wheel]:
    """The wheels in a folder, by their names and digests."""
    with _opened(folder) as inside:
        names = sorted(os.listdir(inside))  # noqa: PTH208 - the open folder, not its path
        if len(names) > MAX_WHEELS:
            raise _strange(f"more than {MAX_WHEELS} files")
        for name in names:
            with _file(inside, name) as file:
                yield read_wheel_name(name, hashlib.file_digest(file, "sha256").hexdigest())


def take_over(folder: Path, into: Path) -> None:
    """Move a folder to a workplace that nothing has run in yet."""
    with _opened(folder):
        folder.rename(into)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, _READ | os.O_DIRECTORY)
    except OSError as error:
        raise _strange(f"something that is no folder: {folder.name}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _file(folder: int, name: str) -> Iterator[BufferedReader]:
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        raise _strange(f"something that is no file: {name[:80]!a}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _strange(f"something that is no file: {name[:80]!a}")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _strange(what: str) -> Refused:
    return Refused("package_refused", f"what fetched the package left {what}")
