"""What Sekisho holds in memory: an idle core, a session, a further plugin server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.house import house, stdio_plugin, write_config
from bench.measure import hold_sessions
from bench.peers.sekisho import way_to
from bench.processes import Memory, memory_of
from bench.stage import Stage
from bench.tools import UPSTREAM
from bench.way import Way

__all__ = ["measure_memory"]

SESSIONS, WARM_SESSIONS, BATCHES = 1000, 100, 4
FURTHER = 3


def measure_memory(stage: Stage) -> dict[str, float]:
    """Figures in MiB and KiB. Memory once used is not given back, so each question gets a fresh house."""
    with _plugins(stage, 1) as way:
        core, alone = _sum(way, ("core",)), _sum(way, ("plugins", "rest"))
        sessions = _left(way)
    with _plugins(stage, 1 + FURTHER) as way:
        several = _sum(way, ("plugins", "rest"))
        held = _held(way)
    return {
        "core_pss_mib": core.pss / 1024,
        "core_private_mib": core.private / 1024,
        **sessions,
        **held,
        "plugin_server_private_mib": (several.private - alone.private) / 1024 / FURTHER,
        "plugin_server_pss_mib": (several.pss - alone.pss) / 1024 / FURTHER,
    }


@contextmanager
def _plugins(stage: Stage, count: int) -> Iterator[Way]:
    """A house with so many plugins behind walls, each of which has answered."""
    plugins = [stdio_plugin(f"w{number}", [UPSTREAM, "--stdio"], UPSTREAM) for number in range(count)]
    with house(write_config(stage.folder / f"memory-{count}", plugins)) as at:
        ways = [way_to(at, f"{one.name}__{{}}") for one in plugins]
        yield ways[0]


def _left(way: Way) -> dict[str, float]:
    """Sessions whose connections are closed."""
    filled = [_warm(way)]
    for _ in range(BATCHES):  # the first ones also fill what is kept for speed, up to its bound
        with hold_sessions(way, SESSIONS, "leave"):
            filled.append(_sum(way, ("core",)).private)
    return {
        "session_kib": (filled[1] - filled[0]) / SESSIONS,
        "session_further_kib": (filled[-1] - filled[-2]) / SESSIONS,
    }


def _held(way: Way) -> dict[str, float]:
    """Sessions whose connections stay open."""
    before = _warm(way)
    with hold_sessions(way, SESSIONS, "hold"):
        return {"session_with_connection_kib": (_sum(way, ("core",)).private - before) / SESSIONS}


def _warm(way: Way) -> int:
    """Buffers that grow only once are grown: KiB of the core after that."""
    with hold_sessions(way, WARM_SESSIONS, "leave"):
        return _sum(way, ("core",)).private


def _sum(way: Way, parts: Sequence[str]) -> Memory:
    found = [memory_of(pid) for pid, part in way.processes().items() if part in parts]
    return Memory(pss=sum(one.pss for one in found), private=sum(one.private for one in found))
