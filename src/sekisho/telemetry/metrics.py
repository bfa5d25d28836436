"""Counters for operators, in Prometheus' text format.

Guarantees that a stranger cannot fill memory with label values: codes come from `errors.CODES`, plugins and
tools only from what `know` announced or what has really been answered; everything else counts under "other".
The path of a call touches counters bound beforehand. Knows no call, client or payload; holds its own
registry, so that two gateways in one process do not mix.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from sekisho.errors import CODES

__all__ = ["Metrics"]

MAX_TOOLS: Final = (
    10_000  # a plugin that lists a new tool name every time must not grow the registry for ever
)
OTHER: Final = "other"
# A call inside one machine takes well under the first bound; the default timeout is the last.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All counters of one core."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._calls = Counter(
            "sekisho_calls", "Calls, by end.", ["plugin", "tool", "outcome", "code"], registry=registry
        )
        self._seconds = Histogram(
            "sekisho_call_seconds",
            "Time of a forwarded call.",
            ["plugin"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter("sekisho_refusals", "Refused calls.", ["code"], registry=registry)
        self._up = Gauge(
            "sekisho_plugin_up", "1 while the plugin can be called.", ["plugin"], registry=registry
        )
        self._restarts = Counter(
            "sekisho_plugin_restarts", "Restarts of a plugin.", ["plugin"], registry=registry
        )
        self._records = Counter("sekisho_audit_records", "Records in the audit log.", registry=registry)
        self._sync_seconds = Histogram(
            "sekisho_audit_sync_seconds", "Time of one sync of the log.", buckets=_BUCKETS, registry=registry
        )
        self._healthy = Gauge(
            "sekisho_audit_healthy", "1 while the audit log can be written.", registry=registry
        )
        self.in_flight = Gauge("sekisho_in_flight", "Calls under way.", registry=registry)
        self._plugins: set[str] = set()
        self._restarts_seen: dict[str, int] = {}
        self._tools: set[tuple[str, str]] = set()
        # (plugin, tool, outcome, code) → its bound counter: `labels` costs more than the rest of a count.
        self._bound: dict[tuple[str, str, str, str], Counter] = {}
        self._timers: dict[str, Histogram] = {}
        self._healthy.set(1)

    def know(self, plugin: str, tools: Iterable[str] = ()) -> None:
        """Announce names that may become label values: from configuration and approved definitions only."""
        self._plugins.add(plugin)
        self._up.labels(plugin)
        for tool in tools:
            if len(self._tools) < MAX_TOOLS:
                self._tools.add((plugin, tool))

    def answered(self, plugin: str, tool: str, code: str, seconds: float) -> None:
        """Count a call that was forwarded; `code` is "ok" or the error it ended in."""
        if (plugin, tool) not in self._tools:
            self.know(plugin, (tool,))
        self._count(plugin, tool, "answered" if code == "ok" else "failed", code)
        self._timer(plugin).observe(seconds)

    def refused(self, plugin: str, tool: str, code: str) -> None:
        """Count a call that was not forwarded; its names are a stranger's words."""
        self._count(plugin, tool, "refused", code)
        self._refusals.labels(_code(code)).inc()

    def plugin_state(self, plugin: str, *, is_up: bool, restarts: int | None) -> None:
        """Say whether a plugin can be called; `restarts` is its plugin server's own count, if known."""
        self._plugins.add(plugin)
        self._up.labels(plugin).set(1 if is_up else 0)
        if restarts is not None:
            before = self._restarts_seen.get(plugin, 0)
            # A plugin server that was itself restarted counts from zero again.
            self._restarts.labels(plugin).inc(restarts - before if restarts >= before else restarts)
            self._restarts_seen[plugin] = restarts

    def committed(self, records: int, seconds: float) -> None:
        """Count records that the audit log made durable, and the time of that sync."""
        self._records.inc(records)
        self._sync_seconds.observe(seconds)

    def audit_healthy(self, is_healthy: bool) -> None:
        """Say whether the audit log can be written."""
        self._healthy.set(1 if is_healthy else 0)

    def exposition(self) -> tuple[str, bytes]:
        """Content type and text of /metrics."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def _count(self, plugin: str, tool: str, outcome: str, code: str) -> None:
        if (plugin, tool) not in self._tools:
            plugin, tool = plugin if plugin in self._plugins else OTHER, OTHER
        key = (plugin, tool, outcome, _code(code))
        counter = self._bound.get(key)
        if counter is None:
            counter = self._bound[key] = self._calls.labels(*key)
        counter.inc()

    def _timer(self, plugin: str) -> Histogram:
        timer = self._timers.get(plugin)
        if timer is None:
            timer = self._timers[plugin] = self._seconds.labels(plugin)
        return timer


def _code(code: str) -> str:
    return code if code == "ok" or code in CODES else OTHER
