"""Run one cell from the command line: `python -m tests.conformance.run --cell stdio --revision 2026-07-28`.

With `--scenario NAME` only that one; with `--wire` also every HTTP exchange. Exit status 1 when a scenario failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conformance.cells import CELLS, standing
from tests.conformance.forwarder import Exchange
from tests.conformance.suite import UNSCORED, Outcome, required, run_server

REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")


def main(words: Sequence[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run")
    parser.add_argument("--cell", choices=CELLS, default="stdio")
    parser.add_argument("--revision", choices=REVISIONS, default="2026-07-28")
    parser.add_argument("--scenario", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--wire", action="store_true", help="show what went over HTTP")
    parser.add_argument("--log", action="store_true", help="show the gateway's running log")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        with standing(CELLS[given.cell], folder) as there:
            chosen = given.scenario or CELLS[given.cell].scenarios
            found = run_server(there.url, given.revision, folder / "out", chosen)
            if given.wire:
                show_wire(there.exchanges)
        if given.log:
            say(there.log.read_text())
        if not found:
            say((folder / "out.log").read_text()[-3000:])
    return show(found, chosen or required(given.revision) or sorted(found))


def show(found: Mapping[str, Outcome], scored: Sequence[str]) -> int:
    """One line per scenario that failed, and the sum."""
    failed = 0
    for name in [*scored, *(one for one in UNSCORED if one in found and one not in scored)]:
        outcome = found.get(name, Outcome(scenario=name))
        if not outcome.is_passed:
            mark = "FAIL" if name in scored else "fail (unscored)"
            failed += name in scored
            say(f"{mark} {name}" + ("" if outcome.checks else "  (did not run)"))
        for check in (*outcome.failures, *outcome.warnings):
            say(f"       {check.status.lower()} {check.name}: {check.says[:600]}")
    say(f"{len(scored) - failed} passed, {failed} failed")
    return 1 if failed else 0


def show_wire(exchanges: Sequence[Exchange]) -> None:
    """Every request and its answer, as they went over the forwarder."""
    for one in exchanges:
        for mark, data in ((">", one.asked), ("<", one.answered)):
            for line in bytes(data).decode("utf-8", "replace").splitlines():
                say(f"{mark} {line[:2000]}")
        say("-" * 40)


def say(text: str) -> None:
    """Print."""
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
