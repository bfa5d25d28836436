"""The gateway as a client of the suite's own servers: one scenario is one `sekisho up` pointed at one address."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import dev
from tests.conformance.suite import FROZEN, Outcome, command, outcomes, required

__all__ = ["client_revisions", "run_client"]

SCENARIO_MS: Final = 180_000  # a whole gateway starts in each, beside those of other tests
SCENARIO_S: Final = 240
AT_ONCE: Final = 2
DRIVER: Final = "tests.conformance.client"


def client_revisions() -> tuple[str, ...]:
    """The revisions that require anything of a client."""
    return FROZEN


def run_client(revision: str, out: Path, scenarios: Sequence[str] = ()) -> Mapping[str, Outcome]:
    """Run a revision's client scenarios, a few at a time: the suite's own way would start all gateways at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(partial(_run, revision, out), scenarios or required(revision, "client")))
    return outcomes(out)


def _run(revision: str, out: Path, scenario: str) -> None:
    program = shlex.join([sys.executable, "-m", DRIVER])
    words = ["--scenario", scenario, "--spec-version", revision]
    line = command("client", "--command", program, *words, "--timeout", str(SCENARIO_MS), "-o", str(out))
    with (out.parent / f"{scenario.replace('/', '-')}.log").open("wb") as log:
        subprocess.run(
            line,
            cwd=out.parent,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(dev.ROOT)},
            check=False,
            timeout=SCENARIO_S,
        )
