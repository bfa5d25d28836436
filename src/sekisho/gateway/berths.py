"""How many calls are under way, and whether one more may be: in the house, of one client, at one plugin.

Guarantees that never more than the limits are under way, in this process or at all workers together, and that a call is
refused only when that many are: a client or a plugin that hangs does not use up the house. What a killed worker had
under way is free again as soon as it is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.errors import Unavailable
from sekisho.gateway.shared_counts import Row
from sekisho.gateway.shared_memory import SharedMemory

__all__ = ["BerthLimits", "Berths", "LocalBerths", "SharedBerths"]

LOOK_FOR_DEAD_S: Final = 0.1  # when all are taken, how often it is asked whether a holder died
_FULL_HOUSE: Final = "as many calls are in flight as may be"
_FULL_CLIENT: Final = "this client has as many calls under way as it may have"
_FULL_PLUGIN: Final = "this plugin has as many calls under way as it may have"


@dataclass(frozen=True, slots=True, kw_only=True)
class BerthLimits:
    """How many calls may be under way at one time."""

    total: int
    of_client: int
    of_plugin: int


class Berths(Protocol):
    """Room for calls under way."""

    @property
    def taken(self) -> int:
        """How many calls of this process are under way."""

    def take(self, client: str, plugin: str) -> str | None:
        """Take room for one call, or say why there is none."""

    def give(self, client: str, plugin: str) -> None:
        """A call has ended."""


class LocalBerths:
    """The count of the only process."""

    def __init__(self, limits: BerthLimits) -> None:
        self._limits = limits
        self._clients: dict[str, int] = {}
        self._plugins: dict[str, int] = {}
        self.taken = 0

    def take(self, client: str, plugin: str) -> str | None:
        """Take room for one call, or say why there is none."""
        limits, clients, plugins = self._limits, self._clients, self._plugins
        of_client, of_plugin = clients.get(client, 0), plugins.get(plugin, 0)
        if of_client >= limits.of_client:
            return _FULL_CLIENT
        if of_plugin >= limits.of_plugin:
            return _FULL_PLUGIN
        if self.taken >= limits.total:
            return _FULL_HOUSE
        clients[client] = of_client + 1
        plugins[plugin] = of_plugin + 1
        self.taken += 1
        return None

    def give(self, client: str, plugin: str) -> None:
        """A call has ended."""
        self._clients[client] -= 1
        self._plugins[plugin] -= 1
        self.taken -= 1


class SharedBerths:
    """The count of one worker among others."""

    def __init__(
        self, memory: SharedMemory, limits: BerthLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory = memory
        self._mutex = memory.mutex
        self._shares = memory.shares
        self._counters = memory.counters
        self._counts = memory.shares.counts
        self._own_calls = memory.own_calls
        self._others = [
            at for at in range(*memory.calls.indices(len(memory.counters))) if at != memory.own_calls
        ]
        self._limits = limits
        self._least = min(limits.total, limits.of_client, limits.of_plugin)
        self._clock = clock
        self._looked_at = float("-inf")
        self._clients: dict[str, Row] = {}
        self._plugins: dict[str, Row] = {}
        self.taken = 0

    def take(self, client: str, plugin: str) -> str | None:
        """Take room for one call, or say why there is none."""
        mutex = self._mutex
        status = mutex.try_take()
        if status != 0:
            try:
                mutex.wait(status)
            except (
                Unavailable
            ) as error:  # a worker that was stopped holds it: whether there is room is not known
                return error.message
        try:
            reason = None if self._take_at_once(client, plugin) else self._take(client, plugin)
            if reason is not None and self._free_the_dead():
                reason = self._take(client, plugin)
        finally:
            mutex.release()
        if reason is None:
            self.taken += 1
        return reason

    def give(self, client: str, plugin: str) -> None:
        """A call has ended; a smaller count needs no lock, because it makes nobody's decision wrong."""
        counts = self._counts
        # a name with a call under way keeps its row
        counts[self._clients[client].mine] -= 1
        counts[self._plugins[plugin].mine] -= 1
        self.taken -= 1
        self._counters[self._own_calls] = self.taken

    def _take_at_once(self, client: str, plugin: str) -> bool:
        """Nearly every call: where fewer are under way in the house than anybody may have, nobody has too many."""
        counters, counts = self._counters, self._counts
        total = self.taken
        for at in self._others:
            total += counters[at]
        if total >= self._least:
            return False
        one, other = self._clients.get(client), self._plugins.get(plugin)
        if one is None or other is None:
            return False
        of_client, of_plugin = counts[one.mine], counts[other.mine]
        if of_client == 0 or of_plugin == 0:  # only with a call under way a name keeps its row
            return False
        counts[one.mine] = of_client + 1
        counts[other.mine] = of_plugin + 1
        counters[self._own_calls] = self.taken + 1
        return True

    def _take(self, client: str, plugin: str) -> str | None:
        memory, counts, limits = self._memory, self._shares.counts, self._limits
        of_client = self._row(self._clients, "client", client)
        if of_client is None or sum(counts[of_client.first : of_client.last]) >= limits.of_client:
            return _FULL_CLIENT
        of_plugin = self._row(self._plugins, "plugin", plugin)
        if of_plugin is None or sum(counts[of_plugin.first : of_plugin.last]) >= limits.of_plugin:
            return _FULL_PLUGIN
        counters = memory.counters
        if sum(counters[memory.calls]) >= limits.total:
            return _FULL_HOUSE
        counters[memory.own_calls] += 1
        counts[of_client.mine] += 1
        counts[of_plugin.mine] += 1
        return None

    def _row(self, known: dict[str, Row], kind: str, name: str) -> Row | None:
        row = known.get(name)
        if row is not None and self._shares.memory[row.name] == row.digest:
            return row
        found = self._shares.row(self._memory.digest(f"{kind} {name}".encode()))
        if found is not None:
            known[name] = found
        return found

    def _free_the_dead(self) -> bool:
        now = self._clock()
        if now - self._looked_at < LOOK_FOR_DEAD_S:
            return False
        self._looked_at = now
        return self._memory.free_the_dead()
