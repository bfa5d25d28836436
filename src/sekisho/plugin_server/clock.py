"""The clock of all calls under way: one alarm for the next deadline, because one for each would cost every call two.

Guarantees that a call whose deadline has passed is told so within one turn of the loop, and that nothing wakes up
while no call is under way. Deadlines may move in both directions; one that moved later costs a look too early.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from typing import Final, Protocol

__all__ = ["Clock", "Timed"]

TICK_S: Final = 0.001  # a loop may wake up this much early


class Timed(Protocol):
    """Something whose time can be over."""

    deadline: float

    def overdue(self) -> None:
        """Its time is over."""


class Clock:
    """Watches over entries that somebody else adds and takes away."""

    def __init__(self, entries: Collection[Timed]) -> None:
        self.next_at = math.inf  # whoever adds an entry with an earlier deadline says so by `watch`
        self._entries = entries
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None

    def watch(self, when: float) -> None:
        """Look at this time, if not before."""
        if when < self.next_at:
            self.stop()
            self.next_at = when
            self._alarm = self._loop.call_at(when, self._look)

    def stop(self) -> None:
        """Wake up no more."""
        self.next_at = math.inf
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _look(self) -> None:
        self._alarm, self.next_at = None, math.inf
        now = self._loop.time() + TICK_S
        for entry in [entry for entry in self._entries if entry.deadline <= now]:
            entry.overdue()
        if self._entries:
            self.watch(min(entry.deadline for entry in self._entries))
