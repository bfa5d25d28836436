"""What one fdatasync of an appended record costs on the disk of this run, and how many of them a call waits longer.

Twice: back to back, which no call sees, and at the pace of a client that is alone. Who has slept finds processor and
disk asleep too, and waits longer; so the first is the harsher measure of a gateway, and the second the fairer one.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from bench.figures import Round, difference
from bench.results import Measured

__all__ = ["fdatasync_us", "pause_s", "waiting"]

RECORD = b"x" * 400 + b"\n"
TIMES = 60
PAUSE_S = 4e-4  # between two waits where nothing tells how long a call takes that does not wait


def fdatasync_us(folder: Path, pause_s: float = 0) -> float:
    """The median, in microseconds, with a sleep before each."""
    path, took = folder / "disk.txt", []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(TIMES):
            if pause_s:
                time.sleep(pause_s)  # noqa: TID251  # the pace is what is measured
            os.write(file, RECORD)
            started = time.perf_counter()
            os.fdatasync(file)
            took.append(1e6 * (time.perf_counter() - started))
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(took)


def pause_s(one: Round) -> float:
    """How long a lone client leaves the disk alone: what its call takes in this round when nobody waits for the disk."""
    sample = one.get("sekisho-written")
    return PAUSE_S if sample is None else sample.p50_us / 1e6


def waiting(one: Measured) -> dict[str, float]:
    """What a tool with effects waits for, beside what the disk needed in the same rounds."""
    if not one.fdatasync_us:
        return {}
    disk, paced = statistics.median(one.fdatasync_us), statistics.median(one.paced_fdatasync_us)
    found = {"fdatasync_us": disk, "fdatasync_paced_us": paced}
    more = difference(one.rounds, "sekisho", "sekisho-written", lambda sample: sample.p50_us)
    if more is not None:
        found |= {
            "effects_us": more,
            "effects_fdatasyncs": more / disk,
            "effects_paced_fdatasyncs": more / paced,
        }
    return found
