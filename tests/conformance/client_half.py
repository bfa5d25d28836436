"""The gateway as a client of the suite's own servers: one scenario is one `sekisho up` pointed at one address."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import dev
from tests.conformance.suite import FROZEN, Outcome, command, outcomes, required

__all__ = ["client_revisions", "run_client"]

SCENARIO_MS: Final = 60_000  # a whole gateway starts in each
SCENARIO_S: Final = 90
DRIVER: Final = "tests.conformance.client"


def client_revisions() -> tuple[str, ...]:
    """The revisions that require anything of a client."""
    return FROZEN


def run_client(revision: str, out: Path, scenarios: Sequence[str] = ()) -> Mapping[str, Outcome]:
    """Run a revision's client scenarios, one after the other: in parallel a dozen gateways would start at once."""
    program = shlex.join([sys.executable, "-m", DRIVER])
    environment = os.environ | {"PYTHONPATH": str(dev.ROOT)}
    for name in scenarios or required(revision, "client"):
        words = [
            "--scenario",
            name,
            "--spec-version",
            revision,
            "--timeout",
            str(SCENARIO_MS),
            "-o",
            str(out),
        ]
        line = command("client", "--command", program, *words)
        with (out.parent / f"{out.name}.log").open("ab") as log:
            subprocess.run(
                line,
                cwd=out.parent,
                stdout=log,
                stderr=log,
                env=environment,
                check=False,
                timeout=SCENARIO_S,
            )
    return outcomes(out)
