"""The page of the counters, in Prometheus' text format.

Prometheus' own objects are made only when somebody looks, of all workers' tallies together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sekisho.telemetry.tally import BOUNDS, Tally, Times

__all__ = ["exposition"]


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
    bounds = [*map(str, BOUNDS), "+Inf"]
    for key, times in values.items():
        buckets = [*zip(bounds, accumulate(times.counts), strict=True)]
        metric.add_metric([] if label is None else [key], buckets, times.total_s)
    return metric
