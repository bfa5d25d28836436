"""What a gateway costs: one run, every way in every round, beside a direct call and other proxies.

`python3 dev.py bench [--only TEXT] [--peers a,b] [--rounds N] [--seconds S] [--quick] [--json]`. Loopback only; ends
by itself, leaves nothing behind, and exits 0 when it could measure, whether or not a target was met.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.machine import describe_machine
from bench.measure import Pace
from bench.processes import BenchFailed
from bench.results import Measured
from bench.run import run_workloads
from bench.stage import Stage
from bench.tables import workload_table
from bench.tools import build_tools
from bench.workloads import chosen, peers_of

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(arguments)
    console = Console(stderr=True)
    try:
        build_tools()
    except BenchFailed as error:
        console.print(f"[red]{error}")
        return 1
    results = _measure(options, console)
    if options.json:
        print(json.dumps({"machine": describe_machine(), "workloads": [asdict(one) for one in results]}))
    else:
        _show(results)
    return 0


def _measure(options: argparse.Namespace, console: Console) -> list[Measured]:
    workloads = chosen(options.only)
    ways = peers_of(workloads, options.peers)
    pace = Pace(seconds=options.seconds, warm_s=min(0.2, options.seconds / 3), most_s=6 * options.seconds)
    cells = sum(len(ways.intersection(one.ways)) * (options.rounds + 1) for one in workloads)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-bench-")))
        stage = Stage(folder=folder, stack=stack)
        progress = stack.enter_context(Progress(console=console, transient=True, disable=options.json))
        step = progress.add_task("starting", total=cells)
        tell = lambda text: progress.update(step, description=text, advance=1)  # noqa: E731
        return list(run_workloads(stage, workloads, ways, rounds=options.rounds, pace=pace, tell=tell))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description="What a gateway costs.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only workloads with this in their name")
    parser.add_argument("--peers", metavar="A,B", type=_names, help='only these peers; "none" for none')
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each workload (default 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one cell (default 0.5)")
    parser.add_argument(
        "--quick", action="store_true", help="under a minute: shows that it works, beside nginx"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.peers = 1, 0.2, frozenset({"nginx"})
    if not 1 <= options.rounds <= 1000:
        parser.error("--rounds must be between 1 and 1000")
    if not 0.05 <= options.seconds <= 60:
        parser.error("--seconds must be between 0.05 and 60")
    return options


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


def _show(results: Sequence[Measured]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    for one in results:
        console.print(workload_table(one))
    console.print(describe_machine())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
