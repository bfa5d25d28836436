"""What Sekisho holds in memory: an idle core, a session, a further plugin server."""

from __future__ import annotations

from collections.abc import Sequence

from bench.house import house, stdio_plugin, write_config
from bench.measure import hold_sessions
from bench.peers.sekisho import way_to
from bench.processes import Memory, memory_of
from bench.stage import Stage
from bench.tools import UPSTREAM
from bench.way import Way

__all__ = ["measure_memory"]

SESSIONS, WARM_SESSIONS = 1000, 100
FURTHER = 3


def measure_memory(stage: Stage) -> dict[str, float]:
    """Figures in MiB and KiB."""
    alone = _plugins(stage, 1)
    several = _plugins(stage, 1 + FURTHER)
    return {
        **alone,
        "plugin_server_private_mib": (several["rest_private_mib"] - alone["rest_private_mib"]) / FURTHER,
        "plugin_server_pss_mib": (several["rest_pss_mib"] - alone["rest_pss_mib"]) / FURTHER,
    }


def _plugins(stage: Stage, count: int) -> dict[str, float]:
    """A house with so many plugins behind walls; the plugins themselves are not counted."""
    plugins = [stdio_plugin(f"w{number}", [UPSTREAM, "--stdio"], UPSTREAM) for number in range(count)]
    with house(write_config(stage.folder / f"memory-{count}", plugins)) as at:
        ways = [way_to(at, f"{one.name}__{{}}") for one in plugins]
        core, rest = _sum(ways[0], ("core",)), _sum(ways[0], ("plugins", "rest"))
        figures = {
            "core_pss_mib": core.pss / 1024,
            "core_private_mib": core.private / 1024,
            "rest_pss_mib": rest.pss / 1024,
            "rest_private_mib": rest.private / 1024,
        }
        return figures if count > 1 else {**figures, **_sessions(ways[0])}


def _sessions(way: Way) -> dict[str, float]:
    with hold_sessions(way, WARM_SESSIONS, "leave"):  # buffers that only grow once are grown
        pass
    before = _sum(way, ("core",)).private
    with hold_sessions(way, SESSIONS, "leave"):
        left = _sum(way, ("core",)).private
    with hold_sessions(way, SESSIONS, "hold"):
        held = _sum(way, ("core",)).private
    return {
        "session_kib": (left - before) / SESSIONS,
        "session_with_connection_kib": (held - before) / SESSIONS,
    }


def _sum(way: Way, parts: Sequence[str]) -> Memory:
    found = [memory_of(pid) for pid, part in way.processes().items() if part in parts]
    return Memory(pss=sum(one.pss for one in found), private=sum(one.private for one in found))
