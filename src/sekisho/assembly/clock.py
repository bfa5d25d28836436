"""The clock of one core process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["LoopClock"]


class LoopClock:
    """Wall time for records: one instant for everything that happens in one turn of the loop."""

    def __init__(self) -> None:
        self._now = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None  # asking for the running one is a system call

    def now(self) -> float:
        """Seconds since the epoch."""
        if not self._now:
            self._now = time.time()
            self.soon(self._forget)
        return self._now

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        loop.call_soon(callback)

    def _forget(self) -> None:
        self._now = 0.0
