"""What the road costs: one run, every row in every round, beside a direct call and another proxy.

`python3 dev.py bench [--rounds N] [--calls N] [--quick] [--json]`. Loopback only; ends by itself, leaves nothing behind
and exits 0 when everything could be measured, whether or not a target was met. Targets are in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.caller import Caller
from bench.house import House, house
from bench.processes import cpu_seconds, get_count, running
from bench.walls import WallTimes, measure_walls

HERE = Path(__file__).resolve().parent
PROXY_PYTHON = HERE.parent / ".cache" / "bench" / "bin" / "python"
WARM_UP_CALLS = 40
SLOW_SHARE = 5  # the proxy beside ours gets this many times fewer calls, so that a run stays short
MAX_ROUNDS, MAX_CALLS = 1000, 100_000


@dataclass(slots=True, kw_only=True)
class Row:
    """One way to the same tool; `roots` are the processes that work for it."""

    name: str
    caller: Caller
    roots: tuple[int, ...]
    share: int = 1
    medians_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    upstream: int = 0
    calls: int = 0

    def play(self, calls: int, port: int) -> None:
        """One round."""
        calls = max(1, calls // self.share)
        count, cpu = get_count(port), cpu_seconds(*self.roots)
        self.medians_s.append(statistics.median(self.caller.call() for _ in range(calls)))
        self.cpu_s += cpu_seconds(*self.roots) - cpu
        self.upstream += get_count(port) - count
        self.calls += calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one row came to; the spread is over rounds."""

    name: str
    median_ms: float
    lowest_ms: float
    highest_ms: float
    ratio: float
    upstream_per_call: float
    cpu_ms_per_call: float


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(arguments)
    console = Console(stderr=True)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=console, disable=options.json, transient=True))
        step = progress.add_task("starting servers", total=None)
        port, rows = _open_rows(stack)
        progress.update(step, description="calling", total=options.rounds * len(rows))
        for row in rows:
            for _ in range(WARM_UP_CALLS // row.share):
                row.caller.call()
        for number in range(options.rounds):
            shift = number % len(rows)  # no row is always the first after a pause
            for row in (*rows[shift:], *rows[:shift]):
                row.play(options.calls, port)
                progress.advance(step)
    with console.status("raising walls"):
        walls = measure_walls(options.starts)
    figures = _figures(rows)
    if options.json:
        print(
            json.dumps(
                {"machine": _machine(), "rows": [asdict(one) for one in figures], "walls": asdict(walls)}
            )
        )
    else:
        _show(figures, walls, options)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description="What the road of a call costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="few calls: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all rows (default 7)")
    parser.add_argument("--calls", type=int, default=150, help="calls of one row in one round (default 150)")
    parser.add_argument("--starts", type=int, default=40, help="program starts (default 40)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.calls, options.starts = 5, 20, 20
    for name, most in (("rounds", MAX_ROUNDS), ("calls", MAX_CALLS), ("starts", MAX_CALLS)):
        if not 1 <= getattr(options, name) <= most:
            parser.error(f"--{name} must be between 1 and {most}")
    return options


def _open_rows(stack: ExitStack) -> tuple[int, list[Row]]:
    """Start everything, open one session for each row."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-bench-")))
    server, line = stack.enter_context(running([sys.executable, HERE / "plugin.py"], folder / "plugin.txt"))
    port = int(line)
    direct = f"http://127.0.0.1:{port}/mcp"
    plain = stack.enter_context(house(folder / "plain", upstream=direct, tls=False))
    secure = stack.enter_context(house(folder / "secure", upstream=direct, tls=True))
    proxy, line = stack.enter_context(
        running([PROXY_PYTHON, HERE / "proxy.py", direct], folder / "proxy.txt")
    )

    def road(name: str, at: House, tool: str) -> Row:
        caller = Caller(at.url, tool, token=at.token, ca_file=at.ca_file)
        roots = (at.process.pid,) if tool.startswith("walled") else (at.process.pid, server.pid)
        return Row(name=name, caller=stack.enter_context(caller), roots=roots)

    return port, [
        Row(name="direct", caller=stack.enter_context(Caller(direct, "echo")), roots=(server.pid,)),
        road("Sekisho, HTTP in front", plain, "web__echo"),
        road("Sekisho, HTTPS in front", secure, "web__echo"),
        road("Sekisho, HTTPS, tool with effects", secure, "web__store"),
        Row(
            name="FastMCP proxy, HTTP in front",
            caller=stack.enter_context(Caller(f"http://127.0.0.1:{int(line)}/mcp", "echo")),
            roots=(proxy.pid, server.pid),
            share=SLOW_SHARE,
        ),
        road("Sekisho, HTTP, stdio plugin behind the wall", plain, "walled__echo"),
    ]


def _figures(rows: Sequence[Row]) -> list[Figures]:
    base = statistics.median(rows[0].medians_s)
    return [
        Figures(
            name=row.name,
            median_ms=1e3 * statistics.median(row.medians_s),
            lowest_ms=1e3 * min(row.medians_s),
            highest_ms=1e3 * max(row.medians_s),
            ratio=statistics.median(row.medians_s) / base,
            upstream_per_call=row.upstream / row.calls,
            cpu_ms_per_call=1e3 * row.cpu_s / row.calls,
        )
        for row in rows
    ]


def _show(figures: Sequence[Figures], walls: WallTimes, options: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(
        title=f"one small tools/call, concurrency 1, {options.rounds} rounds of {options.calls} calls"
    )
    table.add_column("way")
    for column in ("median ms", "rounds, ms", "× direct", "upstream requests", "CPU ms"):
        table.add_column(column, justify="right")
    for one in figures:
        table.add_row(
            one.name,
            f"{one.median_ms:.2f}",
            f"{one.lowest_ms:.2f}–{one.highest_ms:.2f}",
            f"{one.ratio:.2f}",
            f"{one.upstream_per_call:.2f}",
            f"{one.cpu_ms_per_call:.2f}",
        )
    console.print(table)
    console.print(
        f"start of /bin/true, median of {walls.starts}: bare {walls.bare_ms:.1f} ms, behind the wall"
        f" {walls.walled_ms:.1f} ms (all walls stand after {walls.standing_ms:.1f} ms),"
        f" over bare {walls.over_bare_ms:.1f} ms"
    )
    console.print(_machine())


def _machine() -> str:
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} × {name}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
