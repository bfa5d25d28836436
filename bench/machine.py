"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """Processor, kernel, Python, and how busy it was."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(names, platform.machine())
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{os.cpu_count()} × {name}, Linux {platform.release()}, Python {python}, load {load:.1f}"
