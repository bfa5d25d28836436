"""A fork server that lies, behind walls that are none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from sekisho.sandbox import Capabilities, Exit, Limits, Plan, Sandbox, SandboxSpec, Warm
from sekisho.sandbox.running.sandbox import Pipes

WAIT_S: Final = 30.0

# A fork server that answers from a script of replies, one for each message it hears; "-" says nothing.
LIAR: Final = """
import os, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
for reply in sys.argv[2:]:
    data, fds, _, _ = socket.recv_fds(channel, 65536, 3)
    if not data or reply == "end":
        break
    if reply != "-":
        for part in reply.split("&"):
            channel.send(part.encode("utf-8", "surrogateescape"))
else:
    channel.recv(65536)
"""


class NoWalls:
    """A driver without walls: the ordinary program is `cat`, the warm one a liar."""

    def __init__(self, *replies: str) -> None:
        self._replies = replies
        self._waiters: list[asyncio.Task[None]] = []
        self.launched: list[str] = []
        self.ends_at_once = False

    async def probe(self) -> Capabilities:
        raise AssertionError("nobody asks here")

    async def plan(self, spec: SandboxSpec) -> Plan:
        raise AssertionError("nobody asks here")

    async def launch(self, plan: Plan, channel: int | None = None) -> Sandbox:
        self.launched.append(plan.name)
        pipes = Pipes()
        words = (
            ["/bin/cat"] if channel is None else [sys.executable, "-Ic", LIAR, str(channel), *self._replies]
        )
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=pipes.theirs[0],
            stdout=pipes.theirs[1],
            stderr=pipes.theirs[2],
            pass_fds=() if channel is None else (channel,),
        )
        pipes.close_theirs()

        def kill(number: int) -> None:
            if process.returncode is None:
                process.kill()
            if self.ends_at_once:
                sandbox.end(Exit(code=None, signal=9, reason="killed"))

        sandbox = Sandbox(number=1, ask_to_kill=kill, pipes=pipes, group=None)
        self._waiters.append(asyncio.get_running_loop().create_task(_wait(process, sandbox)))
        return sandbox

    async def close(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self._waiters), WAIT_S)


async def _wait(process: asyncio.subprocess.Process, sandbox: Sandbox) -> None:
    sandbox.end(Exit(code=await process.wait(), signal=None, reason="exited"))


def drawn(name: str) -> Plan:
    limits = Limits(
        memory_bytes=0,
        cpu_percent=0,
        pids=0,
        memory_by="guard",
        pids_by="rlimit",
        cpu_by="guard",
        rlimits=(),
        inner_rlimits=(),
    )
    return Plan(
        name=name,
        program="/bin/false",
        options=(),
        command=(),
        mounts=(),
        environment={},
        data={},
        limits=limits,
        wants_network=False,
        cgroup_parents=(),
        cgroup_version="none",
    )


class Case:
    """One plugin whose fork server lies."""

    wait_s = WAIT_S
    ready = '{"event": "ready", "loaded": []}'
    started = '{"event": "started"}'

    def __init__(self) -> None:
        self.events: list[str] = []
        self.facts: list[dict[str, Any]] = []
        self.drivers: list[NoWalls] = []

    def warm(self, *replies: str) -> Warm:
        self.drivers.append(NoWalls(*replies))
        return Warm(
            driver=self.drivers[-1], plain=drawn("plain"), warm=drawn("warm"), message=b"{}", log=self._log
        )

    def _log(self, event: str, **facts: Any) -> None:
        self.events.append(event)
        self.facts.append(facts)

    @property
    def launched(self) -> list[str]:
        return self.drivers[-1].launched


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    made = Case()
    yield made
    for driver in made.drivers:
        await driver.close()
