"""Honest work inside the walls: runs what it is told, one program after the other, and tells what each printed.

Runs on the standard library alone, like the probes beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

JOB_S: Final = 60.0
PROXIES: Final = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy")


def work(jobs: Mapping[str, Mapping[str, Any]], patience: float) -> dict[str, str]:
    """What every job printed, or how it failed."""
    return {name: _done(job, JOB_S * patience) for name, job in jobs.items()}


def _done(job: Mapping[str, Any], timeout_s: float) -> str:
    environment = {**os.environ, **job["environment"]}
    for name in PROXIES if job["is_unaware"] else ():
        environment.pop(name, None)
    try:
        done = subprocess.run(
            job["argv"], env=environment, cwd=job["cwd"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"failed: {error}"
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.returncode} {done.stderr[-600:]}"


def main(config: Mapping[str, Any]) -> None:
    """The whole life of the program inside."""
    sys.stdout.write(json.dumps(work(config["jobs"], config["patience"])) + "\n")
