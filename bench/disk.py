"""What one fdatasync of an appended record costs on the disk of this run."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

__all__ = ["fdatasync_us"]

RECORD = b"x" * 400 + b"\n"
TIMES = 60


def fdatasync_us(folder: Path) -> float:
    """The median, in microseconds."""
    path, took = folder / "disk.txt", []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(TIMES):
            os.write(file, RECORD)
            started = time.perf_counter()
            os.fdatasync(file)
            took.append(1e6 * (time.perf_counter() - started))
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(took)
