"""A core that judges nothing and writes nothing down: what security costs is what it saves.

`python -m bench.open_core CONFIG HOME` runs beside a whole house and shares its plugin servers. It asks for a token,
reads strictly and speaks to plugin servers over the same sealed channel, but no call is limited, inspected, scanned,
recorded or compared with what was approved. No configuration can bring this about: it is made of other code.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from sekisho.assembly.core import Core
from sekisho.assembly.running import run_until_stopped
from sekisho.audit import Journal
from sekisho.errors import Refused, SekishoError
from sekisho.gateway import (
    Answered,
    Approved,
    Arrived,
    Door,
    Front,
    Gate,
    House,
    Identified,
    Inspected,
    Permitted,
    Refusal,
    Sealed,
)
from sekisho.keys import Principal
from sekisho.wire import CallFrame


def judge(arrived: Arrived, house: House) -> Sealed | Refusal:
    """Find the plugin; nothing else."""
    call = arrived.call
    standing = house.standings.get(call.plugin)
    definition = (
        None if standing is None or standing.definitions is None else standing.definitions.get(call.tool)
    )
    if standing is None or definition is None:
        return Refusal.of(call, None, Refused("tool_unknown", "there is no such tool"))
    frame = CallFrame(
        tool=call.tool,
        arguments=call.arguments,
        digest=call.digest,
        timeout_s=standing.timeout_s,
        wants_progress=arrived.wants_progress,
    )
    nobody = Identified(arrived, Principal(client="bench"), "bench")
    return Sealed(Approved(Inspected(Permitted(nobody, definition))), frame, call, nobody.client)


def release(sealed: Sealed, result: bytes | memoryview, house: House) -> Answered:
    """Let everything through."""
    del house
    return Answered(sealed, result)


class Silence:
    """A log that keeps nothing, at the instant a real one would have written."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[SekishoError | None], None]] = []

    def append(self, entry: bytes, *, effect: bool, done: Callable[[SekishoError | None], None]) -> None:
        """Forget the entry."""
        del entry, effect
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(done)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(None)


class OpenCore(Core):
    """A core whose road leads past the gate."""

    def _make_gate(self, journal: Journal) -> tuple[Door, Front]:
        del journal
        return self._gatehouse.open(Silence(), Gate(judge, release))


def main(arguments: list[str]) -> None:
    """Serve until told to stop."""
    config, home = map(Path, arguments)
    core = OpenCore(config, home, trust_on_first_use=False, worker=None)
    run_until_stopped(core.serve(), on_hangup=core.reload)


if __name__ == "__main__":
    main(sys.argv[1:])
