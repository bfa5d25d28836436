"""Counters for operators, in Prometheus' text format.

Guarantees that a stranger cannot fill memory with label values: codes come from `errors.CODES`, plugins and
tools only from what `know` announced or what has really been answered; everything else counts under "other".
Counting is plain integers in a `Tally`; Prometheus' own objects are made only when somebody looks. The tallies of
several workers add up to one page. Knows no call, client or payload.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sekisho.errors import CODES

__all__ = ["Metrics", "Tally", "exposition"]

MAX_TOOLS: Final = (
    10_000  # a plugin that lists a new tool name every time must not grow the registry for ever
)
OTHER: Final = "other"
# A call inside one machine takes well under the first bound; the default timeout is the last.
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Times(msgspec.Struct):
    """How often something took how long: one count for each bound, and one for what took longer."""

    total_s: float = 0.0
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.total_s += seconds
        self.counts[bisect_left(_BOUNDS, seconds)] += 1

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


class Metrics:
    """The counters of one core process."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._restarts_seen: dict[str, int] = {}
        self._tools: set[tuple[str, str]] = set()
        # (plugin, tool) → counts by code, for calls that were forwarded: found without building a path
        self._answered: dict[tuple[str, str], dict[str, int]] = {}

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
        times = self.tally.seconds.get(plugin)
        if times is None:
            times = self.tally.seconds[plugin] = Times()
        times.observe(seconds)

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


def exposition(tallies: Iterable[Tally]) -> tuple[str, bytes]:
    """Content type and text of /metrics for all workers together."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    registry = CollectorRegistry()
    registry.register(_Page(total))
    return CONTENT_TYPE_LATEST, generate_latest(registry)


class _Page(Collector):
    """One look at a tally, in Prometheus' terms."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        calls = CounterMetricFamily(
            "sekisho_calls", "Calls, by end.", labels=["plugin", "tool", "outcome", "code"]
        )
        for plugin, tool, outcome, code, count in tally.each_call():
            if count:
                calls.add_metric([plugin, tool, outcome, code], count)
        yield calls
        yield _timed("sekisho_call_seconds", "Time of a forwarded call.", "plugin", tally.seconds)
        counter = partial(_labelled, CounterMetricFamily)
        yield counter("sekisho_refusals", "Refused calls.", "code", tally.refusals)
        yield _labelled(
            GaugeMetricFamily, "sekisho_plugin_up", "1 while the plugin can be called.", "plugin", tally.up
        )
        yield counter("sekisho_plugin_restarts", "Restarts of a plugin.", "plugin", tally.restarts)
        denials = CounterMetricFamily(
            "sekisho_plugin_denials", "What walls refused plugins.", labels=["plugin", "wall"]
        )
        for plugin, walls in tally.denials.items():
            for wall, count in walls.items():
                denials.add_metric([plugin, wall], count)
        yield denials
        yield CounterMetricFamily("sekisho_audit_records", "Records in the audit log.", tally.records)
        yield _timed(
            "sekisho_audit_sync_seconds", "Time of one sync of the log.", None, {"": tally.sync_seconds}
        )
        yield GaugeMetricFamily(
            "sekisho_audit_healthy", "1 while the audit log can be written.", int(tally.is_audit_healthy)
        )
        yield GaugeMetricFamily("sekisho_in_flight", "Calls under way.", tally.in_flight)


def _labelled(
    family: type[CounterMetricFamily | GaugeMetricFamily],
    name: str,
    text: str,
    label: str,
    values: dict[str, int] | dict[str, bool],
) -> Metric:
    metric = family(name, text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], int(value))
    return metric


def _timed(name: str, text: str, label: str | None, values: dict[str, Times]) -> Metric:
    metric = HistogramMetricFamily(name, text, labels=[] if label is None else [label])
    bounds = [*map(str, _BOUNDS), "+Inf"]
    for key, times in values.items():
        buckets = [*zip(bounds, accumulate(times.counts), strict=True)]
        metric.add_metric([] if label is None else [key], buckets, times.total_s)
    return metric


def _increase(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def _code(code: str) -> str:
    return code if code == "ok" or code in CODES else OTHER
