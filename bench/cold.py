"""How long it takes until a call can be made: from `sekisho up`, and for a plugin added while the gateway runs.

Wall-clock medians: on a busy machine they tell more of the machine. A call is tried every two milliseconds, each time
over a new connection.
"""

from __future__ import annotations

import signal
import statistics
import sys
import time
from pathlib import Path

from bench.first import is_served, wait_until_good
from bench.house import House, Plugin, house, stdio_plugin, write_config
from bench.peers.sekisho import way_to
from bench.stage import Stage
from bench.tools import SCRIPTS, UPSTREAM
from bench.way import Way

__all__ = ["measure_starts"]

SDK_PLUGIN = SCRIPTS / "sdk_plugin.py"
NATIVE = stdio_plugin("native", [UPSTREAM, "--stdio"], UPSTREAM)
PYTHON = stdio_plugin("python", [sys.executable, SDK_PLUGIN], SDK_PLUGIN, tools=("echo",))


def measure_starts(stage: Stage, times: int) -> dict[str, float]:
    """Milliseconds."""
    config = write_config(stage.folder / "cold", [NATIVE])
    first = _up(config)  # keys, certificates and the approval are made here
    return {
        "up_first_ever_ms": first,
        "up_native_ms": statistics.median(_up(config) for _ in range(times)),
        "native_plugin_ms": statistics.median(_added(stage, NATIVE, times)),
        "python_plugin_ms": statistics.median(_added(stage, PYTHON, times)),
    }


def _up(config: Path) -> float:
    """From the start of the command to the first good call."""
    started = time.perf_counter()
    with house(config) as at:
        way_to(at, "native__{}")
        return 1e3 * (time.perf_counter() - started)


def _added(stage: Stage, plugin: Plugin, times: int) -> list[float]:
    """From the reload that brings a plugin the gateway has seen before, to its first good call."""
    folder, stays = (
        stage.folder / f"added-{plugin.name}",
        stdio_plugin("stays", [UPSTREAM, "--stdio"], UPSTREAM),
    )
    with house(write_config(folder, [stays, plugin])) as at:
        way = way_to(at, f"{plugin.name}__{{}}")
        return [_add(at, way, folder, stays, plugin) for _ in range(times)]


def _add(at: House, way: Way, folder: Path, stays: Plugin, plugin: Plugin) -> float:
    write_config(folder, [stays])
    at.process.send_signal(signal.SIGHUP)
    wait_until_good(lambda: "it is still served" if is_served(way) else "", at.process)
    write_config(folder, [stays, plugin])
    started = time.perf_counter()
    at.process.send_signal(signal.SIGHUP)
    wait_until_good(lambda: "" if is_served(way) else "it is not served", at.process)
    return 1e3 * (time.perf_counter() - started)
