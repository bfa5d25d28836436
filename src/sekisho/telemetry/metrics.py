"""Counters for operators.

Guarantees that a stranger cannot fill memory with label values: codes come from `errors.CODES`, plugins and
tools only from what `know` announced or what has really been answered; everything else counts under "other".
Counting is plain integers in a `Tally`. Knows no call, client or payload, and no page (`exposition`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sekisho.errors import CODES
from sekisho.telemetry.exposition import exposition
from sekisho.telemetry.tally import BOUNDS, Tally, Times

__all__ = ["Metrics"]

MAX_TOOLS: Final = (
    10_000  # a plugin that lists a new tool name every time must not grow the registry for ever
)
OTHER: Final = "other"
_BOUNDS: Final = BOUNDS  # compiled code looks an imported name up for each call, and a constant not


class Metrics:
    """The counters of one core process."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._restarts_seen: dict[str, int] = {}
        self._tools: set[tuple[str, str]] = set()
        # (plugin, tool) → counts by code, for calls that were forwarded: found without building a path
        self._answered: dict[tuple[str, str], dict[str, int]] = {}
        self._times: dict[str, Times] = {}  # those of the tally, without asking it each time

    def know(self, plugin: str, tools: Iterable[str] = ()) -> None:
        """Announce names that may become label values: from configuration and approved definitions only."""
        self.tally.up.setdefault(plugin, False)
        for tool in tools:
            if len(self._tools) < MAX_TOOLS:
                self._tools.add((plugin, tool))

    def answered(self, plugin: str, tool: str, code: str, seconds: float) -> None:
        """Count a call that was forwarded; `code` is "ok" or the error it ended in."""
        if code == "ok":
            counts = self._answered.get((plugin, tool)) or self._bind(plugin, tool)
            counts["ok"] = counts.get("ok", 0) + 1
        else:
            self._bind(plugin, tool)
            self._count(plugin, tool, "failed", code)
        times = self._times.get(plugin)
        if times is None:
            times = self._times[plugin] = self.tally.seconds.setdefault(plugin, Times())
        times.total_s += seconds  # what `observe` does, without an interpreted step for each call
        at = 0
        for bound in _BOUNDS:  # sooner done than asking `bisect`, which is no compiled code's
            if seconds <= bound:
                break
            at += 1
        times.counts[at] += 1

    def refused(self, plugin: str, tool: str, code: str) -> None:
        """Count a call that was not forwarded; its names are a stranger's words."""
        self._count(plugin, tool, "refused", code)
        _increase(self.tally.refusals, _code(code))

    def plugin_state(self, plugin: str, *, is_up: bool, restarts: int | None) -> None:
        """Say whether a plugin can be called; `restarts` is its plugin server's own count, if known."""
        self.tally.up[plugin] = is_up
        if restarts is not None:
            before = self._restarts_seen.get(plugin, 0)
            # A plugin server that was itself restarted counts from zero again.
            news = restarts - before if restarts >= before else restarts
            self.tally.restarts[plugin] = self.tally.restarts.get(plugin, 0) + news
            self._restarts_seen[plugin] = restarts

    def denied(self, plugin: str, wall: str, count: int) -> None:
        """Count what a wall of a plugin refused; both names are ours."""
        walls = self.tally.denials.setdefault(plugin, {})
        walls[wall] = walls.get(wall, 0) + count

    def committed(self, records: int, seconds: float) -> None:
        """Count records that the audit log made durable, and the time of that sync."""
        self.tally.records += records
        self.tally.sync_seconds.observe(seconds)

    def audit_healthy(self, is_healthy: bool) -> None:
        """Say whether the audit log can be written."""
        self.tally.is_audit_healthy = is_healthy

    def exposition(self) -> tuple[str, bytes]:
        """Content type and text of /metrics, of this process alone."""
        return exposition((self.tally,))

    def _bind(self, plugin: str, tool: str) -> dict[str, int]:
        if (plugin, tool) not in self._tools:
            self.know(plugin, (tool,))
        counts = self._answered[plugin, tool] = self.tally.counts(*self._labels(plugin, tool), "answered")
        return counts

    def _labels(self, plugin: str, tool: str) -> tuple[str, str]:
        if (plugin, tool) in self._tools:
            return plugin, tool
        return plugin if plugin in self.tally.up else OTHER, OTHER

    def _count(self, plugin: str, tool: str, outcome: str, code: str) -> None:
        _increase(self.tally.counts(*self._labels(plugin, tool), outcome), _code(code))


def _increase(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def _code(code: str) -> str:
    return code if code == "ok" or code in CODES else OTHER
