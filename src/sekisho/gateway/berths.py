"""How many calls are under way, and whether one more may be: of one process, or of all workers together.

Guarantees that never more than the limit are under way, and that a call is refused only when that many are. What
a killed worker had under way is free again as soon as it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from sekisho.errors import Unavailable
from sekisho.gateway.shared_memory import SharedMemory

__all__ = ["Berths", "LocalBerths", "SharedBerths", "Shares"]

LOOK_FOR_DEAD_S: Final = 0.1  # when all are taken, how often it is asked whether a holder died


class Berths(Protocol):
    """Room for calls under way."""

    @property
    def taken(self) -> int:
        """How many calls of this process are under way."""

    def take(self) -> bool:
        """Take room for one call; False when there is none."""

    def give(self) -> None:
        """A call has ended."""


class Shares:
    """How much of the room one client and one plugin may take up: one that hangs must not use up the house.

    Counted by each process for itself: with several workers a share is that of one worker.
    """

    def __init__(self, of_client: int, of_plugin: int) -> None:
        self._of_client = of_client
        self._of_plugin = of_plugin
        self._clients: dict[str, int] = {}
        self._plugins: dict[str, int] = {}

    def take(self, client: str, plugin: str) -> str | None:
        """Count one more call, or say who has as many as may be."""
        clients, plugins = self._clients, self._plugins
        of_client, of_plugin = clients.get(client, 0), plugins.get(plugin, 0)
        if of_client >= self._of_client:
            return "this client has as many calls under way as it may have"
        if of_plugin >= self._of_plugin:
            return f"plugin {plugin!r} has as many calls under way as it may have"
        clients[client] = of_client + 1
        plugins[plugin] = of_plugin + 1
        return None

    def give(self, client: str, plugin: str) -> None:
        """A call has ended."""
        self._clients[client] -= 1
        self._plugins[plugin] -= 1


class LocalBerths:
    """The count of the only process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    def take(self) -> bool:
        """Take room for one call; False when there is none."""
        if self.taken >= self._limit:
            return False
        self.taken += 1
        return True

    def give(self) -> None:
        """A call has ended."""
        self.taken -= 1


class SharedBerths:
    """The count of one worker among others; a worker's own count is written by nobody else."""

    def __init__(
        self, memory: SharedMemory, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory = memory
        self._mutex = memory.mutex
        self._limit = limit
        self._clock = clock
        self._looked_at = float("-inf")
        self.taken = 0

    def take(self) -> bool:
        """Take room for one call; False when there is none."""
        try:
            self._mutex.acquire()
        except Unavailable:  # a worker that was stopped holds the lock: that there is room cannot be known
            return False
        try:
            if self._memory.in_flight() >= self._limit and not self._free_the_dead():
                return False
            self._memory.add_in_flight(1)
        finally:
            self._mutex.release()
        self.taken += 1
        return True

    def give(self) -> None:
        """A call has ended; a smaller count needs no lock, because it makes nobody's decision wrong."""
        self._memory.add_in_flight(-1)
        self.taken -= 1

    def _free_the_dead(self) -> bool:
        now = self._clock()
        if now - self._looked_at < LOOK_FOR_DEAD_S:
            return False
        self._looked_at = now
        return self._memory.free_the_dead() and self._memory.in_flight() < self._limit
