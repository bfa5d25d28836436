"""Private files on disk: written whole, readable by their owner only.

Guarantees that a file is either the old or the new one, never half of one, also after a crash; and that a
private file others may read is refused. Knows nothing about what the files hold.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured

__all__ = [
    "ensure_folder",
    "locked",
    "random_bytes",
    "read_private",
    "read_public",
    "sync_folder",
    "write_private",
    "write_public",
]

MAX_FILE_BYTES: Final = 1 << 20  # a key file larger than this is a mistake, and is not read into memory
NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def ensure_folder(path: Path) -> None:
    """Make a folder only its owner may enter; one that is there is refused if others can put something into it.

    Whoever can put a key of their own there needs to read none of ours.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.stat()
    except OSError as error:
        raise _unavailable(path, error) from error
    if facts.st_uid not in (os.geteuid(), 0) or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Misconfigured(
            "key_unavailable",
            f"others can put keys into {path} (mode {stat.S_IMODE(facts.st_mode):o})",
            remedy="replace what is in it, because it may not be yours, and keep it at mode 700",
        )


def write_private(path: Path, data: bytes) -> None:
    """Replace a file that only its owner may read."""
    _replace(path, data, 0o600)


def write_public(path: Path, data: bytes) -> None:
    """Replace a file that anyone who can enter the folder may read."""
    _replace(path, data, 0o644)


def read_private(path: Path) -> bytes:
    """Read a private file; one that group or world may touch is refused."""
    return _read(path, private=True)


def read_public(path: Path) -> bytes:
    """Read a file that holds no secret."""
    return _read(path, private=False)


def random_bytes(count: int) -> bytes:
    """Fresh key material."""
    return secrets.token_bytes(count)


def sync_folder(path: Path) -> None:
    """A rename is durable only when its folder is (fsync(2), notes)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, so that processes which create keys take turns; short work only."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unavailable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path, *, private: bool) -> bytes:
    try:
        # Without waiting: a pipe that somebody put there would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unavailable(path, error) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise Misconfigured("key_unavailable", f"{path} is not a file")
        if private and facts.st_mode & _OTHERS:
            raise Misconfigured(
                "key_unavailable",
                f"{path} can be read by others (mode {stat.S_IMODE(facts.st_mode):o})",
                remedy="replace the key, because it may be known, and keep it at mode 600",
            )
        if facts.st_size > MAX_FILE_BYTES:
            raise Misconfigured("key_unavailable", f"{path} is too large to be a key")
        return os.read(descriptor, MAX_FILE_BYTES)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, mode: int) -> None:
    ensure_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)  # the umask must not decide
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise _unavailable(path, error) from error


def _unavailable(path: Path, error: OSError) -> Misconfigured:
    remedy = "free space there, then type it again" if error.errno in NO_ROOM else None
    return Misconfigured("key_unavailable", f"{path}: {error.strerror or error}", remedy=remedy)
