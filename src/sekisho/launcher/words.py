"""What a stopped call names: read from the memory of a process that may be hostile.

Guarantees that a pointer into nothing, a path without an end, a process that is gone or hides its memory gives None, and
that no more than one path's bytes are ever read. The caller has to ask the kernel afterwards whether the call still
waits: only then was it that process's memory.
"""

# ruff: noqa: PTH115 - pathlib is not imported here
from __future__ import annotations

import ctypes
import os
import re
from typing import Final

from sekisho.launcher.kernel import libc

__all__ = ["MAX_PATH_BYTES", "anchored", "read_path"]

MAX_PATH_BYTES: Final = 4096  # PATH_MAX, its end included
FIRST_BYTES: Final = 256  # most paths are shorter
PAGE: Final = 4096  # a read never crosses into a page that may not be there
AT_FDCWD: Final = -100
_OWN_ENTRY: Final = re.compile(
    r"/+proc/+(?:self|thread-self|[0-9]+)/+(?:task/+[0-9]+/+)?(?:(?P<root>root)|cwd|fd/+(?P<fd>[0-9]{1,9}))(?:/+|$)"
)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_room: Final = ctypes.create_string_buffer(MAX_PATH_BYTES)
_seen: Final = memoryview(_room).cast("B")
_ours: Final = _Vector(ctypes.addressof(_room), 0)
_theirs: Final = _Vector(0, 0)
_ours_at: Final = ctypes.addressof(_ours)
_theirs_at: Final = ctypes.addressof(_theirs)
_readv: Final = libc.process_vm_readv
_readv.argtypes = (
    ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
)  # fmt: skip
_readv.restype = ctypes.c_ssize_t


def read_path(pid: int, address: int) -> bytes | None:
    """The text at an address, up to its end; None where there is none, or none that a path could have."""
    found = b""
    size = min(PAGE - address % PAGE, FIRST_BYTES)
    while size:
        _ours.length = _theirs.length = size
        _theirs.base = address + len(found) & 0xFFFF_FFFF_FFFF_FFFF
        if _readv(pid, _ours_at, 1, _theirs_at, 1, 0) != size:
            return None
        piece = _seen[:size].tobytes()
        end = piece.find(b"\0")
        if end >= 0:
            return found + piece[:end]
        found += piece
        size = min(PAGE - (address + len(found)) % PAGE, MAX_PATH_BYTES - len(found))
    return None


def anchored(pid: int, folder: int | None, path: bytes) -> str | None:
    """A path from /, where `folder` is the descriptor it starts at, None for where the process stands.

    The entries of /proc that lead a process to its own root, folder and descriptors are taken for what they say.
    """
    text = os.fsdecode(path)
    while (own := _OWN_ENTRY.match(text)) is not None:
        text = text[own.end() :]
        if own["root"]:
            text = "/" + text
        else:
            folder = None if own["fd"] is None else int(own["fd"])
            text = text.lstrip("/") or "."
    if text.startswith("/"):
        return text
    number = AT_FDCWD if folder is None else ctypes.c_int(folder & 0xFFFF_FFFF).value
    if not text or (number < 0 and number != AT_FDCWD):
        return None
    try:
        start = os.readlink(f"/proc/{pid}/cwd" if number == AT_FDCWD else f"/proc/{pid}/fd/{number}")
    except OSError:
        return None
    return (
        f"{start}/{text}" if start.startswith("/") else None
    )  # else a pipe, a socket, or nothing with a path
