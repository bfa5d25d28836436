"""What a fork server says is believed as little as a plugin: each lie ends in the ordinary start, or in new walls."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from sekisho.policy.grants import Grants
from sekisho.sandbox import Capabilities, Exit, Limits, Plan, Sandbox, SandboxSpec, Warm, make_ready
from sekisho.sandbox.running.sandbox import Pipes
from sekisho.sandbox.warm import start as warming

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
READY: Final = '{"event": "ready", "loaded": []}'


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


LIES: Final = {
    "not JSON": "{",
    "another type": "[1, 2]",
    "a word": '"ready"',
    "no list": '{"event": "ready", "loaded": 7}',
    "a member that is missing": '{"event": "ready"}',
    "deep": "[" * 60_000,
    "not text": "\udcff\udcfe",
    "the end": "end",
    "unfit": '{"event": "unfit", "reason": "an import started a thread"}',
}


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("lie", LIES)
async def test_a_server_that_never_gets_ready_is_passed_over_and_told_once(case: Case, lie: str) -> None:
    async with case.warm(LIES[lie]) as warm:
        for _ in range(2):
            life = await asyncio.wait_for(warm.start(), WAIT_S)
            await life.kill_tree()
            life.close_fds()
    assert case.launched == ["warm", "plain", "plain"]
    assert case.events == ["plugin_not_warm"]


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("lie", ["{", "end", '{"event": "exit", "status": "x"}'])
async def test_a_server_that_cannot_fork_is_passed_over(case: Case, lie: str) -> None:
    async with case.warm(READY, lie) as warm:
        life = await asyncio.wait_for(warm.start(), WAIT_S)
        await life.kill_tree()
        life.close_fds()
    assert case.launched == ["warm", "plain"]
    assert case.events == ["plugin_walls_raised", "plugin_not_warm"]


async def test_walls_that_ended_are_raised_again_and_counted(case: Case) -> None:
    async with case.warm(READY, '{"event": "started"}', "end") as warm:
        for _ in range(2):
            life = await asyncio.wait_for(warm.start(), WAIT_S)
            ended = await asyncio.wait_for(life.kill_tree(), WAIT_S)  # it closes its channel instead
            assert ended.reason == "killed"
            life.close_fds()
        assert warm.raised == 2
    assert case.launched == ["warm", "warm"]
    assert case.events == ["plugin_walls_raised"] * 2


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("0", Exit(code=0, signal=None, reason="exited")),
        ("7", Exit(code=7, signal=None, reason="exited")),
        ("-11", Exit(code=None, signal=11, reason="signalled")),
    ],
)
async def test_an_end_is_told_as_the_server_tells_it(case: Case, status: str, ended: Exit) -> None:
    told = '{"event": "started"}&{"event": "exit", "status": ' + status + '}&{"event": "exit", "status": 99}'
    async with case.warm(READY, told) as warm:
        life = await asyncio.wait_for(warm.start(), WAIT_S)
        assert await asyncio.wait_for(life.wait(), WAIT_S) == ended
        assert await life.kill_tree() == ended
        life.close_fds()


async def test_walls_that_fall_end_the_plugin(case: Case) -> None:
    async with case.warm(READY, '{"event": "started"}') as warm:
        life = await asyncio.wait_for(warm.start(), WAIT_S)
        await warm.__aexit__()
        assert (await asyncio.wait_for(life.wait(), WAIT_S)).reason in ("killed", "exited")
        life.close_fds()


async def test_an_end_that_nobody_was_told_of_yet_is_an_end(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "END_S", 0.0)
    async with case.warm(READY, '{"event": "started"}') as warm:
        case.drivers[-1].ends_at_once = True
        life = await asyncio.wait_for(warm.start(), WAIT_S)
        assert (await asyncio.wait_for(life.kill_tree(), WAIT_S)).reason == "killed"
        life.close_fds()


def test_only_commands_of_python_are_made_ready(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import mcp\n")
    spec = SandboxSpec(name="p", argv=("x",), grants=Grants(), cwd=str(tmp_path))
    python = sys.executable
    assert make_ready(spec, ("/bin/cat",), ("json",)) is None
    assert make_ready(spec, (python, "s.py"), ()) is None  # nothing to import: nothing to gain
    assert make_ready(spec, (python, "-c", "x" * 70_000), ("json",)) is None
    (tmp_path / "plain.py").write_text("print()\n")
    assert make_ready(spec, (python, "plain.py"), None) is None
    ready = make_ready(spec, (python, "s.py"), None)
    assert ready is not None
    assert ready[0].warm is not None
    assert ready[0].warm.interpreter == (python,)
    assert (ready[0].argv, ready[0].grants) == (spec.argv, spec.grants)
    assert b"mcp.server" in ready[1]


async def test_walls_raised_ahead_are_those_of_the_first_start(case: Case) -> None:
    async with case.warm(READY, '{"event": "started"}') as warm:
        await warm.prepare()
        await warm.prepare()
        assert case.launched == ["warm"]
        (await warm.start()).close_fds()
        assert case.launched == ["warm"]


async def test_walls_that_cannot_be_raised_ahead_lead_to_the_ordinary_start(case: Case) -> None:
    async with case.warm('{"event": "unfit", "reason": "no"}') as warm:
        await warm.prepare()
        await warm.prepare()
        assert case.events == ["plugin_not_warm"]
        running = await warm.start()
        assert case.launched == ["warm", "plain"]
        await running.kill_tree()
        running.close_fds()
