"""The tables a person reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from bench.figures import cpu_ratio, cpu_us, difference, events_per_call, middle, sibling
from bench.measure import Sample
from bench.peers import LABELS
from bench.results import Measured

__all__ = ["workload_table"]

NOTHING_US = 0.5  # `up` and the egress proxy have no part in a call; a line appears when they take one


def workload_table(one: Measured) -> Table:
    """One workload: a row for each way."""
    has_events = one.workload.events_per_call > 0
    table = Table(
        title=one.workload.name,
        caption=one.workload.about or None,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("way", no_wrap=True)
    for column in (
        "CPU µs",
        "rounds",
        "× nginx",
        "× Envoy s.",
        "FastMCP ÷",
        "calls/s",
        "p50 µs",
        "+p50",
        "+p99",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    if has_events:
        table.add_column("events", justify="right")
    table.add_column("note")
    for way in one.ways:
        if way in one.absent:
            table.add_row(LABELS[way], *[""] * (9 + has_events), one.absent[way])
            continue
        cells = _cells(one, way)
        if has_events:
            cells.append(_events(one, way))
        table.add_row(LABELS[way], *cells, _note(one, way))
        for part in one.parts(way):
            if (
                part == "rest"
                and (middle(one.rounds, way, lambda sample: cpu_us(sample, "rest")) or 0) < NOTHING_US
            ):
                continue
            table.add_row(*_part_cells(one, way, part), style="dim")
    return table


def _cells(one: Measured, way: str) -> list[str]:
    rounds, measured = one.rounds, one.measured
    base = sibling(way, "direct", measured)
    nginx, envoy, fastmcp = (sibling(way, peer, measured) for peer in ("nginx", "envoy-secured", "fastmcp"))
    is_gateway = not way.startswith("direct")

    def against(other: str | None) -> str:
        return number(cpu_ratio(rounds, way, other)) if other and is_gateway else ""

    def added(figure: Callable[[Sample], float]) -> str:
        return number(difference(rounds, way, base, figure)) if base and is_gateway else ""

    return [
        number(middle(rounds, way, cpu_us)) if is_gateway else "",
        _spread([one.total_cpu_us for one in one.samples(way)]) if is_gateway else "",
        against(nginx),
        against(envoy),
        number(cpu_ratio(rounds, fastmcp, way)) if fastmcp and is_gateway else "",
        number(middle(rounds, way, lambda sample: sample.calls_per_s)),
        number(middle(rounds, way, lambda sample: sample.p50_us)),
        added(lambda sample: sample.p50_us),
        added(lambda sample: sample.p99_us),
    ]


def _part_cells(one: Measured, way: str, part: str) -> tuple[str, ...]:
    nginx, envoy = (sibling(way, peer, one.measured) for peer in ("nginx", "envoy-secured"))
    return (
        f"  · {part}",
        number(middle(one.rounds, way, lambda sample: cpu_us(sample, part))),
        _spread([cpu_us(sample, part) for sample in one.samples(way)]),
        number(cpu_ratio(one.rounds, way, nginx, part)) if nginx else "",
        number(cpu_ratio(one.rounds, way, envoy, part)) if envoy else "",
    )


def _events(one: Measured, way: str) -> str:
    seen, wanted = events_per_call(one.rounds, way), one.workload.events_per_call
    return "" if seen is None else f"{seen:.3g} of {wanted}"


def _note(one: Measured, way: str) -> str:
    notes = []
    seen = events_per_call(one.rounds, way)
    if one.workload.events_per_call and seen is not None and seen < one.workload.events_per_call:
        notes.append("notifications are lost")
    bad = sum(sample.bad for sample in one.samples(way))
    if bad:
        notes.append(f"{bad} bad: {next(s.first_bad for s in one.samples(way) if s.bad)[:60]}")
    asked = middle(one.rounds, way, lambda sample: sample.requests_per_call)
    if asked is not None and asked > 1.05:
        notes.append(f"{asked:.1f} upstream requests per call")
    return "; ".join(notes)


def _spread(values: Sequence[float]) -> str:
    return f"{number(min(values))}–{number(max(values))}" if values else ""


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
