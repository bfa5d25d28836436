"""The tables a person reads, on a terminal or as Markdown for docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from bench.figures import cpu_ratio, cpu_us, difference, events_per_call, middle, sibling
from bench.machine import describe_machine
from bench.measure import Sample
from bench.peers import LABELS
from bench.results import Findings, Measured
from bench.targets import Target, judge

__all__ = ["number", "show"]

Row = dict[str, str]  # by column; a column that is empty in every row is left out

FIRST, LAST = "way", "note"
COLUMNS = (
    FIRST, "CPU µs", "rounds", "× nginx", "× Envoy s.", "FastMCP / it",
    "calls/s", "p50 µs", "+p50", "+p99", "events", LAST,
)  # fmt: skip
TEXTS = (FIRST, LAST, "target", "figure")  # the other columns are numbers
SINGLES = {
    "core_pss_mib": "core, idle: MiB (PSS)",
    "core_private_mib": "core, idle: MiB private",
    "session_kib": "each of the first 1,000 sessions, connection closed: KiB",
    "session_further_kib": "each of 1,000 sessions after 3,000 others: KiB",
    "session_with_connection_kib": "each of the first 1,000 sessions, connection open: KiB",
    "plugin_server_private_mib": "each further plugin server: MiB private",
    "plugin_server_pss_mib": "each further plugin server: MiB (PSS)",
    "up_first_ever_ms": "sekisho up to first call, first time ever: ms",
    "up_native_ms": "sekisho up to first call, native plugin: ms",
    "native_added_ms": "native plugin, from reload to first call: ms",
    "native_again_ms": "native plugin, started again: ms",
    "python_added_ms": "Python SDK plugin, from reload to first call: ms",
    "python_again_ms": "Python SDK plugin, started again: ms",
    "walls_bare_ms": "/bin/true, bare: ms",
    "walls_walled_ms": "/bin/true behind the wall: ms",
    "walls_standing_ms": "all walls stand after: ms",
    "walls_over_bare_ms": "the wall over bare: ms",
    "walls_native_over_bare_ms": "the native wall over bare: ms",
    "walls_landlock_over_bare_ms": "Landlock over bare: ms",
    "walls_srt_over_bare_ms": "srt over bare: ms",
    "walls_oci_standing_ms": "our plan by podman, a first start: stands after, ms",
    "walls_oci_again_standing_ms": "our plan by podman, made ahead: stands after, ms",
    "walls_oci_over_bare_ms": "the same, first, to its reported end, over bare: ms",
    "walls_oci_again_over_bare_ms": "the same, made ahead, to its reported end, over bare: ms",
    "walls_podman_over_bare_ms": "podman over bare: ms",
    "walls_of_srt": "the wall, of what srt adds",
    "handshake_python_bare_ms": "Python SDK server to its answer to initialize, bare: ms",
    "handshake_python_ratio": "the same behind the wall: times as long",
    "handshake_node_bare_ms": "Node.js server to its answer to initialize, bare: ms",
    "handshake_node_ratio": "the same behind the wall: times as long",
    "relay_gate_mb_s": "through the egress gate, one connection: MB/s",
    "relay_plain_mb_s": "through a plain asyncio relay: MB/s",
    "relay_of_plain": "the gate, of the plain relay",
    "relay_gate_cpu_s_per_gb": "the gate: processor seconds for each GB",
    "relay_plain_cpu_s_per_gb": "the plain relay: processor seconds for each GB",
    "fdatasync_us": "one fdatasync, back to back: µs",
    "fdatasync_paced_us": "one fdatasync at the pace of a lone client: µs",
    "effects_us": 'a call with durability = "effects" over "written": µs',
}
NOTHING_US = 0.5  # `up` and the egress proxy have no part in a call; a line appears when they take one
LONGEST_NOTE = 60


def show(console: Console, findings: Findings, *, markdown: bool = False) -> None:
    """All tables, the targets last."""

    def put(title: str, columns: Sequence[str], rows: Sequence[Row], *, caption: str = "") -> None:
        if not rows:
            return
        console.print(f"\n### {title}\n" if markdown else f"\n{title}", style="bold", markup=False)
        if markdown:
            console.out(_markdown(columns, rows), highlight=False)
        else:
            console.print(_table(columns, rows))
        if caption:
            say(caption)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    told: set[str] = set()
    for one in findings.workloads:
        put(one.workload.name, COLUMNS, _rows(one), caption=one.workload.about)
        for way, why in one.absent.items():
            if (line := f"not measured: {LABELS[way]}: {why}") not in told:
                told.add(line)
                say(line)
    if findings.singles:
        put("memory, starts, disk", ("figure", "measured"), _single_rows(findings))
    for name, why in findings.absent.items():
        say(f"not measured: {name}: {why}")
    put("targets", ("target", "bound", "measured", "met?"), _target_rows(findings))
    say(f"\n{describe_machine()}")


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _markdown(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A table, a blank line (else what is said below would be a row), and the notes, which would make it too wide."""
    used = [name for name in _used(columns, rows) if name != LAST]
    lines = [used, ["---" if name in TEXTS else "---:" for name in used]]
    lines += [[row.get(name, "") for name in used] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [f"| {' | '.join(map(_fill, line, widths, used))} |" for line in lines]
    notes = [f"- {row[used[0]]}: {row[LAST]}" for row in rows if row.get(LAST)]
    return "\n".join([*table, "", *notes, ""] if notes else [*table, ""])


def _fill(cell: str, width: int, name: str) -> str:
    if cell.startswith("---"):
        return cell[:-1].ljust(width - 1, "-") + cell[-1]
    return cell.ljust(width) if name in TEXTS else cell.rjust(width)


def _used(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    return [name for name in columns if any(row.get(name) for row in rows)]


def _table(columns: Sequence[str], rows: Sequence[Row]) -> Table:
    used = _used(columns, rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in used:
        table.add_column(name, justify="left" if name in TEXTS else "right", no_wrap=name != LAST)
    for row in rows:
        is_part = row[used[0]].startswith("·")
        table.add_row(*(row.get(name, "") for name in used), style="dim" if is_part else "")
    return table


def _rows(one: Measured) -> list[Row]:
    """A row for each way, and under it one for each part of a gateway that has several."""
    rows: list[Row] = []
    for way in one.ways:
        if way in one.absent:
            rows.append({FIRST: LABELS[way], LAST: "not measured, see below"})
            continue
        rows.append(_way_row(one, way))
        rows += [_part_row(one, way, part) for part in one.parts(way) if _takes_part(one, way, part)]
    return rows


def _way_row(one: Measured, way: str) -> Row:
    rounds = one.rounds
    row = {
        FIRST: LABELS[way],
        "calls/s": number(middle(rounds, way, lambda sample: sample.calls_per_s)),
        "p50 µs": number(middle(rounds, way, lambda sample: sample.p50_us)),
        "events": _events(one, way),
        LAST: _note(one, way),
    }
    if way.startswith("direct"):
        return row
    fastmcp = sibling(way, "fastmcp", one.measured)
    return {
        **row,
        **_cpu(one, way),
        "FastMCP / it": number(cpu_ratio(rounds, fastmcp, way)) if fastmcp else "",
        "+p50": _added(one, way, lambda sample: sample.p50_us),
        "+p99": _added(one, way, lambda sample: sample.p99_us),
    }


def _part_row(one: Measured, way: str, part: str) -> Row:
    return {FIRST: f"· {part}", **_cpu(one, way, part)}


def _cpu(one: Measured, way: str, part: str = "") -> Row:
    """Processor time, its spread over rounds, and what it is beside nginx and Envoy."""
    nginx, envoy = (sibling(way, peer, one.measured) for peer in ("nginx", "envoy-secured"))
    values = [cpu_us(sample, part) for sample in one.samples(way)]
    return {
        "CPU µs": number(middle(one.rounds, way, lambda sample: cpu_us(sample, part))),
        "rounds": f"{number(min(values))}–{number(max(values))}" if values else "",
        "× nginx": number(cpu_ratio(one.rounds, way, nginx, part)) if nginx else "",
        "× Envoy s.": number(cpu_ratio(one.rounds, way, envoy, part)) if envoy else "",
    }


def _added(one: Measured, way: str, figure: Callable[[Sample], float]) -> str:
    base = sibling(way, "direct", one.measured)
    return number(difference(one.rounds, way, base, figure)) if base else ""


def _takes_part(one: Measured, way: str, part: str) -> bool:
    used = middle(one.rounds, way, lambda sample: cpu_us(sample, part)) or 0.0
    return part != "rest" or used >= NOTHING_US


def _events(one: Measured, way: str) -> str:
    seen, wanted = events_per_call(one.rounds, way), one.workload.events_per_call
    return f"{seen:.3g} of {wanted}" if wanted and seen is not None else ""


def _note(one: Measured, way: str) -> str:
    notes = []
    seen = events_per_call(one.rounds, way)
    if one.workload.events_per_call and seen is not None and seen < one.workload.events_per_call:
        notes.append("notifications are lost")
    bad = [sample for sample in one.samples(way) if sample.bad]
    if bad:
        notes.append(f"{sum(sample.bad for sample in bad)} bad: {bad[0].first_bad[:LONGEST_NOTE]}")
    asked = middle(one.rounds, way, lambda sample: sample.requests_per_call)
    if asked is not None and asked > 1.05:
        notes.append(f"{asked:.1f} upstream requests each")
    return "; ".join(notes)


def _single_rows(findings: Findings) -> list[Row]:
    return [
        {"figure": label, "measured": number(findings.singles[name])}
        for name, label in SINGLES.items()
        if name in findings.singles
    ]


def _target_rows(findings: Findings) -> list[Row]:
    words = {True: "yes", False: "no", None: "not measured"}
    return [
        {
            "target": one.target.about,
            "bound": _bound(one.target),
            "measured": number(one.value),
            "met?": words[one.is_met],
        }
        for one in judge(findings.workloads, findings.singles)
        if one.value is not None or findings.is_whole
    ]


def _bound(target: Target) -> str:
    sign, bound = ("≤", target.most) if target.most is not None else ("≥", target.least)
    stretch = f" ({number(target.stretch)})" if target.stretch is not None else ""
    return f"{sign} {number(bound)}{stretch} {target.unit}"
