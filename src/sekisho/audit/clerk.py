"""A thread that does one and the same work whenever it is told to: it waits for a disk in the place of the loop.

Guarantees: the work runs once for each `begin`, one at a time, and the loop hears once how it ended, unless it is closed
by then. What it needs of the system it has from the start, but for its thread; where none is to be had it says so, and
the next one tries again. Both ways go through a descriptor. The kernel's own workers, which would need no thread (Linux
AIO), wait for their turn behind whoever computes; a thread that slept is run at once, and on a machine with other work
that is a hundred microseconds against some milliseconds. Knows nothing of logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable

from sekisho.audit.hand import Told

__all__ = ["Clerk"]


class Clerk:
    """A thread that starts when it is first needed."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        # Had from the start: a moment without descriptors must not come between a record and whoever waits for it.
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            self._ended = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError:
            os.close(self._wake)
            raise
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: Told | None = None
        self._failure: BaseException | None = None
        self._is_due = self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """True from `begin` until the end was told."""
        return self._told is not None

    def begin(self, told: Told) -> bool:
        """Do the work, then call `told` with what went wrong or None; False while it is busy, when closed, and where
        no thread is to be had.
        """
        if self._told is not None or self._is_closed or not (self._thread or self._start()):
            return False
        self._told, self._is_due = told, True
        os.eventfd_write(self._wake, 1)
        return True

    def close(self) -> None:
        """End the thread; what is under way is waited for and not told."""
        if self._is_closed:
            return
        self._told, self._is_closed = None, True
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            self._thread = None
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._ended)
        for descriptor in (self._wake, self._ended):
            os.close(descriptor)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread
            return False
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ended, self._hear)
        return True

    def _serve(self) -> None:
        while True:
            os.eventfd_read(self._wake)
            if self._is_due:
                self._is_due = False
                self._failure = self._done()
                os.eventfd_write(self._ended, 1)
            if self._is_closed:
                return

    def _done(self) -> BaseException | None:
        try:
            self._work()
        except BaseException as failure:  # noqa: BLE001  # top of a thread; whoever hears it decides what it means
            return failure
        return None

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):  # then there is nothing to hear yet
            os.eventfd_read(self._ended)
            told, self._told = self._told, None
            if told is not None:
                told(self._failure)
