"""One worker thread, for what would keep the event loop waiting: a disk that syncs, a folder of small files.

Guarantees: work is done in the order given, one at a time; the loop hears exactly once of each, unless it is
closed by then. Thinner than an executor with futures, because a result may wait for it. Knows nothing of
logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Hand", "Told", "Work"]

Work = Callable[[], None]
Told = Callable[[BaseException | None], None]


class Hand:
    """A thread that starts with the first work given to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Work, Told, asyncio.AbstractEventLoop] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Work, told: Told) -> None:
        """Run `work` in the thread, then `told` in the running loop, with what went wrong or None."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # none is to be had now; the next one tries again
                loop.call_soon(told, OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
                return
            self._thread = thread
        self._queue.put((work, told, loop))

    def stop(self) -> None:
        """Wait until everything given is done, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        while (given := self._queue.get()) is not None:
            work, told, loop = given
            failure: BaseException | None = None
            try:
                work()
            except BaseException as problem:  # noqa: BLE001  # top of a thread; the loop decides what it means
                failure = problem
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody is left to hear
                loop.call_soon_threadsafe(told, failure)
