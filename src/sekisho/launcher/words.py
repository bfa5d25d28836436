"""What a stopped call names: read from the memory of a process that may be hostile.

Guarantees that a pointer into nothing, a path without an end, a process that is gone or hides its memory gives None, and
that no more than one path's bytes are ever read. (A page that is there and that the process itself may not read is read:
its call fails, and is told.) The caller has to ask the kernel afterwards whether the call still waits: only then was it
that process's memory.
"""

# ruff: noqa: PTH115 - pathlib is not imported here
from __future__ import annotations

import contextlib
import ctypes
import os
import re
from typing import Final

__all__ = ["MAX_PATH_BYTES", "Memory", "anchored"]

MAX_PATH_BYTES: Final = 4096  # PATH_MAX, its end included
FIRST_BYTES: Final = 256  # most paths are shorter
ADDRESS: Final = (1 << 56) - 1  # what is above is a tag, which the kernel leaves out of account too (arm64)
AT_FDCWD: Final = -100
_OWN_ENTRY: Final = re.compile(
    r"/+(?:proc/+(?:self|thread-self|[0-9]+)/+(?:task/+[0-9]+/+)?(?:(?P<root>root)|cwd|fd/+(?P<fd>[0-9]{1,9}))"
    r"|dev/+fd/+(?P<dev>[0-9]{1,9}))(?:/+|$)"
)


class Memory:
    """The memory of whoever rang last: one process's calls follow one another, so its memory stays open between them.

    A number that another process gets meanwhile is found out where the first one's memory is gone with it.

    Args:
        keeps: whether it does. Only where the call is heard by which a process gets another memory (`forget` then): one
            that had its parent's until it became another program would be looked for in there.
    """

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps
        self._pid = 0
        self._fd = -1

    def path(self, pid: int, address: int) -> bytes | None:
        """The text at an address, up to its end; None where there is none, or none that a path could have."""
        if pid != self._pid:
            self.forget()
        text = self._read(pid, address, FIRST_BYTES)
        if len(text) == FIRST_BYTES and 0 not in text:
            text += self._read(pid, address + FIRST_BYTES, MAX_PATH_BYTES - FIRST_BYTES)
        if not self._keeps:
            self.forget()
        end = text.find(0)
        return None if end < 0 else text[:end]

    def forget(self) -> None:
        """Whoever rings next is looked up anew."""
        if self._fd >= 0:
            os.close(self._fd)
        self._pid, self._fd = 0, -1

    def _read(self, pid: int, address: int, size: int) -> bytes:
        """What is there, less where it ends sooner; nothing where nothing is."""
        address &= ADDRESS
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                text = os.pread(self._fd, size, address)
                if text:
                    return text
            self.forget()  # empty: nobody has this memory any more, its process became another program unheard
        try:
            self._fd, self._pid = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC), pid
            return os.pread(self._fd, size, address)
        except OSError:
            return b""


def anchored(pid: int, folder: int | None, path: bytes) -> str | None:
    """A path from /, where `folder` is the descriptor it starts at, None for where the process stands.

    The entries of /proc, and of /dev, that lead a process to its own root, folder and descriptors are taken for what they
    say.
    """
    text = os.fsdecode(path)
    while (own := _OWN_ENTRY.match(text)) is not None:
        text = text[own.end() :]
        if own["root"]:
            text = "/" + text
        else:
            named = own["fd"] or own["dev"]
            folder = int(named) if named else None
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
