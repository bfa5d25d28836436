"""fdatasync without a thread: the kernel is asked for it, and says through a descriptor when it is done.

Guarantees: what is told is what fdatasync of this descriptor would have returned, told once, in the loop that asked. One
sync is under way at a time. Where the kernel does not offer it (another architecture, before Linux 4.18, a filter of
system calls), `begin` says so and nothing has happened.

A thread has to be woken and to get the interpreter, twice, which takes longer than a good disk. The interface is Linux
AIO (io_submit(2), IOCB_CMD_FDSYNC with IOCB_FLAG_RESFD), which container runtimes let through, unlike io_uring. Knows
nothing of logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from typing import Final

__all__ = ["KernelSync"]

Told = Callable[[BaseException | None], None]

# io_setup, io_destroy, io_getevents, io_submit: the C library has no names for them
_NUMBERS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
_FDSYNC: Final = 3
_RESFD: Final = 1


class _Iocb(ctypes.Structure):
    """struct iocb of linux/aio_abi.h, as little-endian machines have it."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("result_descriptor", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """struct io_event."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("iocb", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class KernelSync:
    """Syncs one descriptor; made when it is first needed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._context = ctypes.c_ulong(0)
        self._numbers = _NUMBERS.get(os.uname().machine)
        self._signal = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: Told | None = None
        self._event = _Event()
        self._iocb = _Iocb()
        self._iocbs = (ctypes.c_void_p * 1)(ctypes.addressof(self._iocb))

    def begin(self, told: Told) -> bool:
        """Sync what is written now, then call `told` with the error or None; False: it has to be done otherwise."""
        if self._numbers is None or self._told is not None or not self._is_ready(self._numbers[0]):
            return False
        if self._call(self._numbers[3], self._context, ctypes.c_long(1), self._iocbs) != 1:
            self.close()
            return False
        self._told = told
        return True

    def close(self) -> None:
        """Give everything back; a sync that is under way is waited for and not told."""
        numbers, self._numbers, self._told = self._numbers, None, None
        if numbers is None or self._signal < 0:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._signal)
        self._call(numbers[1], self._context)
        os.close(self._signal)
        self._signal = -1

    def _is_ready(self, setup: int) -> bool:
        if self._signal >= 0:
            return True
        if self._call(setup, ctypes.c_long(1), ctypes.byref(self._context)) != 0:
            self._numbers = None
            return False
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._iocb.opcode, self._iocb.descriptor = _FDSYNC, self._descriptor
        self._iocb.flags, self._iocb.result_descriptor = _RESFD, self._signal
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._signal, self._hear)
        return True

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):  # then there is nothing to hear yet
            os.eventfd_read(self._signal)
        if self._numbers is None or self._told is None:
            return
        count = self._call(
            self._numbers[2],
            self._context,
            ctypes.c_long(0),
            ctypes.c_long(1),
            ctypes.byref(self._event),
            None,
        )
        if count != 1:
            return
        told, self._told = self._told, None
        result: int = self._event.result
        told(None if result == 0 else OSError(-result, os.strerror(-result)))

    def _call(self, number: int, *arguments: object) -> int:
        done: int = _libc.syscall(ctypes.c_long(number), *arguments)
        return done


# None of these calls waits, so there is nothing to let the interpreter go for; the end of a sync that is under way would.
_libc: Final = ctypes.PyDLL(None, use_errno=True)
