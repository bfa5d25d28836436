"""Processes of the conformance runs: started, waited for with a bound, ended."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["READY_S", "running", "wait_approved"]

READY_S: Final = 60.0
STOP_S: Final = 60.0


@contextlib.contextmanager
def running(line: Sequence[str], log: Path, *, is_silent: bool = False) -> Iterator[str]:
    """A process until the block ends; yields the first line it prints, nothing of one that prints none."""
    environment = {name: value for name, value in os.environ.items() if name != "SEKISHO_HOME"}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
    assert process.stdout is not None
    try:
        if is_silent:
            yield ""
            return
        readable, _, _ = select.select([process.stdout], [], [], READY_S)
        first = process.stdout.readline() if readable else b""
        assert first, f"{line[0]} said nothing:\n{log.read_text()[-3000:]}"
        yield first.decode().strip()
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def wait_approved(log: Path, patience_s: float) -> None:
    """Until the fixture's calls pass."""
    pause, deadline = threading.Event(), time.monotonic() + patience_s
    while not any(
        '"plugin_standing"' in line and '"approved"' in line for line in log.read_text().splitlines()
    ):
        assert time.monotonic() < deadline, f"the fixture is not approved:\n{log.read_text()[-3000:]}"
        pause.wait(0.05)
