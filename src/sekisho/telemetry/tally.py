"""What one worker has counted, as plain integers that can be sent to another process and added up.

Values; what counts, and under which names, is the business of `metrics`, what operators see of `exposition`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = ["BOUNDS", "Tally", "Times"]

# A call inside one machine takes well under the first bound; the default timeout is the last.
# Of no stated length: compiled code takes one of known length apart, and puts it together again for each use.
BOUNDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Times(msgspec.Struct):
    """How often something took how long: one count for each bound, and one for what took longer."""

    total_s: float = 0.0
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.total_s += seconds
        self.counts[bisect_left(BOUNDS, seconds)] += 1

    def add(self, other: Times) -> None:
        """Count everything that `other` counted."""
        self.total_s += other.total_s
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]


class Tally(msgspec.Struct):
    """Everything one worker has counted; it can be sent to another process as it is."""

    calls: dict[str, dict[str, dict[str, dict[str, int]]]] = msgspec.field(default_factory=dict)
    seconds: dict[str, Times] = msgspec.field(default_factory=dict)
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    up: dict[str, bool] = msgspec.field(default_factory=dict)
    restarts: dict[str, int] = msgspec.field(default_factory=dict)
    denials: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    records: int = 0
    sync_seconds: Times = msgspec.field(default_factory=Times)
    is_audit_healthy: bool = True
    in_flight: int = 0

    def counts(self, plugin: str, tool: str, outcome: str) -> dict[str, int]:
        """The counts by code of calls that ended so."""
        return self.calls.setdefault(plugin, {}).setdefault(tool, {}).setdefault(outcome, {})

    def add(self, other: Tally) -> None:
        """Add what another worker of the same gateway counted.

        Plugins and their restarts are the same for all workers and every worker hears of them, so they are not
        added; a plugin is up when any worker reaches it.
        """
        for plugin, tool, outcome, code, count in other.each_call():
            mine = self.counts(plugin, tool, outcome)
            mine[code] = mine.get(code, 0) + count
        for plugin, times in other.seconds.items():
            self.seconds.setdefault(plugin, Times()).add(times)
        for code, count in other.refusals.items():
            self.refusals[code] = self.refusals.get(code, 0) + count
        for plugin, is_up in other.up.items():
            self.up[plugin] = self.up.get(plugin, False) or is_up
        for plugin, count in other.restarts.items():
            self.restarts[plugin] = max(self.restarts.get(plugin, 0), count)
        for plugin, walls in other.denials.items():
            mine = self.denials.setdefault(plugin, {})
            for wall, count in walls.items():
                mine[wall] = mine.get(wall, 0) + count
        self.records += other.records
        self.sync_seconds.add(other.sync_seconds)
        self.is_audit_healthy = self.is_audit_healthy and other.is_audit_healthy
        self.in_flight += other.in_flight

    def each_call(self) -> Iterator[tuple[str, str, str, str, int]]:
        """Plugin, tool, outcome, code and count."""
        for plugin, tools in self.calls.items():
            for tool, outcomes in tools.items():
                for outcome, codes in outcomes.items():
                    for code, count in codes.items():
                        yield plugin, tool, outcome, code, count
