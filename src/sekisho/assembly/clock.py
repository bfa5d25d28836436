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

    def now(self) -> float:
        """Seconds since the epoch."""
        if not self._now:
            self._now = time.time()
            asyncio.get_running_loop().call_soon(self._forget)
        return self._now

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn."""
        asyncio.get_running_loop().call_soon(callback)

    def _forget(self) -> None:
        self._now = 0.0
