"""The tables a person reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from bench.figures import cpu_ratio, cpu_us, difference, events_per_call, middle, sibling
from bench.machine import describe_machine
from bench.measure import Sample
from bench.peers import LABELS
from bench.results import Findings, Measured
from bench.targets import Target, Verdict, judge

__all__ = ["number", "show"]

SINGLES = {
    "core_pss_mib": "core, idle: MiB (PSS)",
    "core_private_mib": "core, idle: MiB private",
    "session_kib": "each session, its connection closed: KiB",
    "session_with_connection_kib": "each session, its connection open: KiB",
    "plugin_server_private_mib": "each further plugin server: MiB private",
    "plugin_server_pss_mib": "each further plugin server: MiB (PSS)",
    "up_first_ever_ms": "sekisho up to first call, first time ever: ms",
    "up_native_ms": "sekisho up to first call, native plugin: ms",
    "native_plugin_ms": "native plugin, from reload to first call: ms",
    "python_plugin_ms": "Python SDK plugin, from reload to first call: ms",
    "walls_bare_ms": "/bin/true, bare: ms",
    "walls_walled_ms": "/bin/true behind the wall: ms",
    "walls_standing_ms": "all walls stand after: ms",
    "fdatasync_us": "one fdatasync: µs",
    "effects_us": 'a call with durability = "effects" over "written": µs',
}
NOTHING_US = 0.5  # `up` and the egress proxy have no part in a call; a line appears when they take one


def show(console: Console, findings: Findings) -> None:
    """All tables, the targets last."""
    told: set[str] = set()
    for one in findings.workloads:
        console.print(_workload_table(one))
        for line in _reasons(one):
            if line not in told:
                console.print(f"  {line}", markup=False, highlight=False)
            told.add(line)
        console.print()
    if findings.singles:
        console.print(_singles_table(findings))
    for name, why in findings.absent.items():
        console.print(f"  {name}: {why}", markup=False, highlight=False)
    console.print(_targets_table(judge(findings.workloads, findings.singles)))
    console.print(describe_machine(), highlight=False)


def _singles_table(findings: Findings) -> Table:
    table = Table(title="memory, starts, disk", title_justify="left")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    for name, label in SINGLES.items():
        if name in findings.singles:
            table.add_row(label, number(findings.singles[name]))
    return table


def _targets_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="targets", title_justify="left")
    for column in ("target", "bound", "measured", "met?"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for one in verdicts:
        met = {True: "[green]yes", False: "[red]no", None: "[dim]not measured"}[one.is_met]
        table.add_row(one.target.about, _bound(one.target), number(one.value), met)
    return table


def _bound(target: Target) -> str:
    sign, bound = ("≤", target.most) if target.most is not None else ("≥", target.least)
    stretch = f" ({number(target.stretch)})" if target.stretch is not None else ""
    return f"{sign} {number(bound)}{stretch} {target.unit}"


def _workload_table(one: Measured) -> Table:
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
        "FastMCP / it",
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
            table.add_row(LABELS[way], *[""] * (9 + has_events), "not measured: see below the first table")
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


def _reasons(one: Measured) -> list[str]:
    """Why ways are missing from the table, and what to do."""
    return [f"{LABELS[way]}: {why}" for way, why in one.absent.items()]


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
