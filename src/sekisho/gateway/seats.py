"""How much of one kind (connections, event streams, bytes) the house and each client have, and whether more may be.

Guarantees that never more than the limit are taken, in this process or at all workers together, and that one is refused
only when that many are; what a killed worker had taken is free again as soon as it is needed. Knows no connection, and
decides nothing about whom to send away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from sekisho.errors import Unavailable
from sekisho.gateway.shared_counts import Row
from sekisho.gateway.shared_memory import SharedMemory

__all__ = ["HOUSE", "LOOK_FOR_DEAD_S", "LocalSeats", "Seats", "SharedSeats"]

HOUSE: Final = ""
"""The name under which all of them are counted; no client has it."""
LOOK_FOR_DEAD_S: Final = 0.1  # when all are taken, how often it is asked whether a holder died


class Seats(Protocol):
    """Things of one kind that many may have, each a bounded number of."""

    def take(self, name: str, most: int, count: int = 1) -> bool:
        """One more for this name, or so many; False when it would have more than it may."""

    def give(self, name: str, count: int = 1) -> None:
        """One of this name is over, or so many."""

    def is_full(self, name: str, most: int) -> bool:
        """True when one more would be refused now."""


class LocalSeats:
    """The count of the only process."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # a Counter runs Python for what it has not and for what it forgets

    def take(self, name: str, most: int, count: int = 1) -> bool:
        """One more for this name, or so many; False when it would have more than it may."""
        taken = self._taken.get(name, 0) + count
        if taken > most:
            return False
        self._taken[name] = taken
        return True

    def give(self, name: str, count: int = 1) -> None:
        """One of this name is over, or so many."""
        left = self._taken[name] - count
        if left:
            self._taken[name] = left
        else:
            del self._taken[name]

    def is_full(self, name: str, most: int) -> bool:
        """True when one more would be refused now."""
        return self._taken.get(name, 0) >= most


class SharedSeats:
    """The count of one worker among others."""

    def __init__(
        self, memory: SharedMemory, kind: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory = memory
        self._counts = memory.shares
        self._kind = kind
        self._clock = clock
        self._looked_at = float("-inf")
        # where those names are counted of which we have some: a row stays while it is in use
        self._rows: dict[str, tuple[Row, int]] = {}

    def take(self, name: str, most: int, count: int = 1) -> bool:
        """One more for this name, or so many; False when it would have more than it may."""
        try:
            self._memory.mutex.acquire()
        except Unavailable:  # a worker that was stopped holds the lock: whether there is room is not known
            return False
        try:
            return self._take(name, most, count) or (self._free_the_dead() and self._take(name, most, count))
        finally:
            self._memory.mutex.release()

    def give(self, name: str, count: int = 1) -> None:
        """One of this name is over; a smaller count needs no lock, because it makes nobody's decision wrong."""
        row, ours = self._rows[name]
        if ours == count:
            del self._rows[name]
        else:
            self._rows[name] = (row, ours - count)
        self._counts.counts[row.mine] -= count

    def is_full(self, name: str, most: int) -> bool:
        """True when one more would be refused now."""
        known = self._rows.get(name)
        if known is not None:
            return self._sum(known[0]) >= most
        try:
            self._memory.mutex.acquire()
        except Unavailable:
            return True
        try:
            row = self._row(name)
            return row is None or self._sum(row) >= most
        finally:
            self._memory.mutex.release()

    def _take(self, name: str, most: int, count: int) -> bool:
        row, ours = self._rows.get(name, (None, 0))
        if row is None:
            row = self._row(name)
        if row is None or self._sum(row) + count > most:
            return False
        self._counts.counts[row.mine] += count
        self._rows[name] = (row, ours + count)
        return True

    def _row(self, name: str) -> Row | None:
        return self._counts.row(self._memory.digest(f"{self._kind} {name}".encode()))

    def _sum(self, row: Row) -> int:
        return sum(self._counts.counts[row.first : row.last])

    def _free_the_dead(self) -> bool:
        now = self._clock()
        if now - self._looked_at < LOOK_FOR_DEAD_S:
            return False
        self._looked_at = now
        return self._memory.free_the_dead()
