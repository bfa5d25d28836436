"""How many bytes all connections may keep in our memory, and who has to let go of some.

Guarantees that the bytes of this process, or of all workers together, are compared with the limit each time that they
grow. Beyond it the worker that keeps at least its even share has to let go of some; there is always one. One that keeps
less sends nobody away for what another keeps: it says so, and until the other has heard it the limit is exceeded by what
came here, which is less than an even share. Counts only; who is cut, the front decides.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from sekisho.errors import Unavailable
from sekisho.gateway.shared_memory import SharedMemory

__all__ = ["Budget", "LocalBudget", "SharedBudget"]

LOOK_FOR_DEAD_S: Final = 0.1


class Budget(Protocol):
    """Bytes that may be kept."""

    def keep(self, size: int) -> bool:
        """This process keeps so many bytes now; True when it has to let go of some."""

    def is_exceeded(self) -> bool:
        """True when all together keep more than they may."""


class LocalBudget:
    """The budget of the only process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0

    def keep(self, size: int) -> bool:
        """This process keeps so many bytes now; True when it has to let go of some."""
        self._size = size
        return size > self._most

    def is_exceeded(self) -> bool:
        """True when it keeps more than it may."""
        return self._size > self._most


class SharedBudget:
    """The budget of all workers, as one of them sees it."""

    def __init__(self, memory: SharedMemory, most: int) -> None:
        self._memory = memory
        self._most = most
        self._share = most // memory.workers
        self._looked_at = float("-inf")

    def keep(self, size: int) -> bool:
        """This process keeps so many bytes now; True when it has to let go of some."""
        memory = self._memory
        counters = memory.counters
        if size <= counters[memory.own_bytes]:  # less makes nobody's decision wrong, and needs no lock
            counters[memory.own_bytes] = size
            return self._must_cut(size)
        try:
            memory.mutex.acquire()
        except Unavailable:  # a worker that was stopped holds it; what is ours alone is known
            counters[memory.own_bytes] = size
            return size > self._share
        try:
            counters[memory.own_bytes] = size
            if self.is_exceeded() and size <= self._share:
                self._free_the_dead()
            return self._must_cut(size)
        finally:
            memory.mutex.release()

    def is_exceeded(self) -> bool:
        """True when all together keep more than they may."""
        return sum(self._memory.counters[self._memory.kept]) > self._most

    def _must_cut(self, size: int) -> bool:
        return size > self._share and self.is_exceeded()

    def _free_the_dead(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_FOR_DEAD_S:
            self._looked_at = now
            self._memory.free_the_dead()
