"""What a gateway costs: one run, every way in every round, beside a direct call and other proxies.

`python3 dev.py bench [--only TEXT] [--peers a,b] [--rounds N] [--seconds S] [--quick] [--json]`. Loopback only; ends
by itself, leaves nothing behind, and exits 0 when it could measure, whether or not a target was met.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.machine import describe_machine
from bench.measure import Pace
from bench.processes import BenchFailed
from bench.results import Findings
from bench.run import Plan, count_steps, run
from bench.stage import Stage
from bench.tables import show
from bench.targets import judge
from bench.tools import build_tools
from bench.workloads import chosen, peers_of

__all__ = ["main"]

WARM_S = 0.2
LONGEST_S = 6.0  # may a cell take for ways that need so long for the least number of calls


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(arguments)
    console = Console(stderr=True)
    try:
        build_tools()
    except BenchFailed as error:
        console.print(str(error), style="red", markup=False)
        return 1
    findings = _measure(_plan(options), console)
    if options.json:
        print(json.dumps(_as_json(findings)))
    else:
        width = 250 if options.markdown else None if sys.stdout.isatty() else 160
        show(Console(width=width), findings, markdown=options.markdown)
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    workloads = chosen(options.only)
    return Plan(
        workloads=workloads,
        ways=peers_of(workloads, options.peers),
        rounds=options.rounds,
        starts=options.starts,
        pace=Pace(
            seconds=options.seconds,
            warm_s=min(WARM_S, options.seconds / 3),
            most_s=max(LONGEST_S, options.seconds),
        ),
        only=options.only,
    )


def _measure(plan: Plan, console: Console) -> Findings:
    columns = (SpinnerColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-bench-")))
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task("", total=count_steps(plan))

        def tell(text: str) -> None:
            progress.update(task, description=text, advance=1)

        return run(Stage(folder=folder, stack=stack), plan, tell)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description="What a gateway costs.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only what has this in its name")
    parser.add_argument("--peers", metavar="A,B", type=_names, help='only these peers; "none" for none')
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each workload (default 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one cell (default 0.5)")
    parser.add_argument("--starts", type=int, default=5, help="repetitions of each start (default 5)")
    parser.add_argument("--quick", action="store_true", help="under a minute: shows that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--markdown", action="store_true", help="tables for docs/performance.md")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.starts, options.peers = 1, 0.1, 1, frozenset({"nginx"})
    for name, least, most in (("rounds", 1, 1000), ("seconds", 0.05, 60), ("starts", 1, 1000)):
        if not least <= getattr(options, name) <= most:
            parser.error(f"--{name} must be between {least} and {most}")
    return options


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(","))


def _as_json(findings: Findings) -> dict[str, object]:
    verdicts = judge(findings.workloads, findings.singles)
    return {
        "machine": describe_machine(),
        "workloads": [asdict(one) for one in findings.workloads],
        "singles": findings.singles,
        "absent": findings.absent,
        "targets": [{**asdict(one.target), "value": one.value, "met": one.is_met} for one in verdicts],
    }


def _end_orderly() -> None:
    """Servers run in sessions of their own, so a signal that ends us must not leave them behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))


if __name__ == "__main__":
    _end_orderly()
    sys.exit(main(sys.argv[1:]))
