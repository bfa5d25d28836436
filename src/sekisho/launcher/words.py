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
import struct
from typing import Final

__all__ = ["MAX_PATH_BYTES", "Memory", "anchored"]

MAX_PATH_BYTES: Final = 4096  # PATH_MAX, its end included
FIRST_BYTES: Final = 256  # most paths are shorter
PAGE: Final = 4096  # a read never crosses into a page that may not be there
AT_FDCWD: Final = -100
ADDRESS: Final = (1 << 56) - 1  # what is above is a tag, which the kernel leaves out of account too (arm64)
_OWN_ENTRY: Final = re.compile(
    r"/+(?:proc/+(?:self|thread-self|[0-9]+)/+(?:task/+[0-9]+/+)?(?:(?P<root>root)|cwd|fd/+(?P<fd>[0-9]{1,9}))"
    r"|dev/+fd/+(?P<dev>[0-9]{1,9}))(?:/+|$)"
)


_room: Final = bytearray(MAX_PATH_BYTES)
_vectors: Final = bytearray(32)  # where to, how much; where from, how much: two of the kernel's iovec
_VECTORS: Final = struct.Struct("=QQQQ")
_room_held: Final = (ctypes.c_char * len(_room)).from_buffer(_room)
_vectors_held: Final = (ctypes.c_char * len(_vectors)).from_buffer(_vectors)
_room_at: Final = ctypes.addressof(_room_held)
# What a call is given each time is converted once: conversion by `argtypes` takes longer than the call.
_readv: Final = ctypes.PyDLL(None).process_vm_readv
_readv.restype = ctypes.c_ssize_t
_ours: Final = ctypes.byref(_vectors_held)
_theirs: Final = ctypes.byref(_vectors_held, 16)
_one: Final = ctypes.c_ulong.from_param(1)
_no_flags: Final = ctypes.c_ulong.from_param(0)


def read_path(pid: int, address: int) -> bytes | None:
    """The text at an address, up to its end; None where there is none, or none that a path could have."""
    got = 0
    size = min(PAGE - address % PAGE, FIRST_BYTES)
    while size:
        _VECTORS.pack_into(_vectors, 0, _room_at + got, size, address + got & 0xFFFF_FFFF_FFFF_FFFF, size)
        if _readv(pid, _ours, _one, _theirs, _one, _no_flags) != size:
            return None
        end = _room.find(b"\0", got, got + size)
        if end >= 0:
            return bytes(_room[:end])
        got += size
        size = min(PAGE - (address + got) % PAGE, MAX_PATH_BYTES - got)
    return None


class Memory:
    """Where paths are read. The memory of the plugin's first program stays open, because most calls are that program's.

    An open memory is the one that the process had when it was opened, and others may keep that one after the process got
    another. A process gets another by executing a program, and its number by ending. So a memory is opened after the
    first program was executed (`executes`), and is closed for ever before a second one is, whoever executes it, or when
    the process has ended (`end` says so): nobody is ever read in the memory of another, or in one of his past.
    """

    def __init__(self) -> None:
        self._pread = os.pread  # found once: for each path that costs as much as what it does
        self.end = -1  # readable when the process whose memory stays open has ended; -1 where none does
        self._pid = 0
        self._fd = -1
        self._has_run = False

    def executes(self, pid: int) -> None:
        """A process is about to execute a program, and waits for us."""
        self.forget()
        if not self._has_run:
            self._has_run = True
            with contextlib.suppress(OSError):
                self.end = os.pidfd_open(pid)
                self._pid = pid

    def forget(self) -> None:
        """Nobody's memory stays open from here on."""
        for fd in (self.end, self._fd):
            if fd >= 0:
                os.close(fd)
        self.end, self._pid, self._fd = -1, 0, -1

    def path(self, pid: int, address: int) -> bytes | None:
        """The text at an address, up to its end; None where there is none, or none that a path could have."""
        if pid != self._pid:
            return read_path(pid, address)
        try:
            if self._fd < 0:
                self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            text: bytes = self._pread(self._fd, FIRST_BYTES, address & ADDRESS)
        except OSError:  # of a pointer into nothing, or of a process that hides from this way
            return read_path(pid, address)
        end = text.find(0)
        return read_path(pid, address) if end < 0 else text[:end]


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
