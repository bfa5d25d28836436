"""How long it takes until a call can be made: from `sekisho up`, and for a plugin while the gateway runs.

A plugin is *added* by a reload, which also starts its plugin server; or it is *started again* after its process was
killed, which is what a crash or an overdue call comes to. The latter is read from the gateway's own log (from the state
"restarting" with which the new start begins, to "ready"), so that the pause between two starts does not count.

Wall-clock medians: on a busy machine they tell more of the machine. A call is tried every two milliseconds, each time
over a new connection.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

from bench.first import is_served, wait_until_good
from bench.house import House, Plugin, house, stdio_plugin, write_config
from bench.peers.sekisho import way_to
from bench.processes import BenchFailed, tree_of
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
        **_plugin(stage, NATIVE, UPSTREAM, times),
        **_plugin(stage, PYTHON, SDK_PLUGIN, times),
    }


def _up(config: Path) -> float:
    """From the start of the command to the first good call."""
    started = time.perf_counter()
    with house(config) as at:
        way_to(at, "native__{}")
        return 1e3 * (time.perf_counter() - started)


def _plugin(stage: Stage, plugin: Plugin, program: Path, times: int) -> dict[str, float]:
    folder = stage.folder / f"cold-{plugin.name}"
    return {
        f"{plugin.name}_added_ms": statistics.median(_added(folder, plugin, times)),
        f"{plugin.name}_again_ms": statistics.median(_started_again(folder, plugin, program, times)),
    }


def _added(folder: Path, plugin: Plugin, times: int) -> list[float]:
    """In a house with another plugin that stays."""
    stays = stdio_plugin("stays", [UPSTREAM, "--stdio"], UPSTREAM)
    with house(write_config(folder, [stays, plugin])) as at:
        way = way_to(at, f"{plugin.name}__{{}}")
        return [_add(at, way, folder, stays, plugin) for _ in range(times)]


def _add(at: House, way: Way, folder: Path, stays: Plugin, plugin: Plugin) -> float:
    """From the reload that brings a plugin the gateway has seen before, to its first good call."""
    write_config(folder, [stays])
    at.process.send_signal(signal.SIGHUP)
    wait_until_good(lambda: "it is still served" if is_served(way) else "", at.process)
    write_config(folder, [stays, plugin])
    started = time.perf_counter()
    at.process.send_signal(signal.SIGHUP)
    wait_until_good(lambda: "" if is_served(way) else "it is not served", at.process)
    return 1e3 * (time.perf_counter() - started)


def _started_again(folder: Path, plugin: Plugin, program: Path, times: int) -> list[float]:
    """In a house of its own, so that its process is the only one of its program."""
    config = write_config(folder, [plugin])
    (folder / "log.txt").unlink()
    with house(config) as at:
        way = way_to(at, f"{plugin.name}__{{}}")
        for number in range(1, times + 1):
            _kill(at, program)
            wait_until_good(lambda: _missing(at.log, plugin.name, number), at.process)  # noqa: B023
            wait_until_good(lambda: "" if is_served(way) else "it is not served", at.process)
        return _starts(at.log, plugin.name)


def _kill(at: House, program: Path) -> None:
    own = [one for one in tree_of(at.process.pid) if str(program) in one.words and one.name != "bwrap"]
    if not own:
        raise BenchFailed(f"no process runs {program.name}")
    os.kill(max(one.pid for one in own), signal.SIGKILL)


def _missing(log: Path, name: str, wanted: int) -> str:
    return "" if len(_starts(log, name)) >= wanted else "it was not started again"


def _starts(log: Path, name: str) -> list[float]:
    """Every start of the plugin that its states in the log tell of, in milliseconds."""
    took: list[float] = []
    began: datetime | None = None
    for line in log.read_text().splitlines():
        if '"plugin_state"' not in line:
            continue
        event = json.loads(line)
        if event["plugin"] != name:
            continue
        at = datetime.fromisoformat(event["time"])
        if event["state"] == "restarting" and not event["detail"]:
            began = at
        elif event["state"] == "ready" and began is not None:
            took.append(1e3 * (at - began).total_seconds())
            began = None
    return took
