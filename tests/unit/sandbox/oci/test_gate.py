"""The door of a container, at which our own start program comes without one, and others do too."""

from __future__ import annotations

import asyncio
import platform
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.sandbox.plans.test_plan import HOST, draw

from sekisho.errors import Misconfigured
from sekisho.sandbox.calls.seccomp import MACHINES as FILTERED
from sekisho.sandbox.calls.seccomp import assemble, refusals
from sekisho.sandbox.oci.gate import ContainerGate, watch_request
from sekisho.sandbox.oci.start_program import FAILED, MACHINES, start_program
from sekisho.sandbox.plans.plan import Plan

WAIT_S = 20
MACHINE = platform.machine()
UNSHARE = FILTERED[MACHINE].numbers["unshare"]

pytestmark = pytest.mark.skipif(
    MACHINE not in MACHINES, reason="the start program is for x86-64; elsewhere the engine loads the filter"
)


class Stage:
    """A gate as a container has it, and what it was told."""

    def __init__(self, folder: Path, command: tuple[str, ...]) -> None:
        self.told: list[dict[str, Any]] = []
        self.plan = drawn(command)
        gate = folder / "gate"
        gate.mkdir()
        self.program, self.door = gate / "start", gate / "door"
        silent, alarm = assemble(MACHINE), assemble(MACHINE, alarm=True)
        self.program.write_bytes(start_program(str(self.door), command[:1], silent, alarm))
        self.program.chmod(0o755)
        self.gate = ContainerGate(folder, self.plan, self._hear, has_image=False)

    def _hear(self, message: dict[str, Any], _fds: list[int]) -> None:
        self.told.append(message)

    async def start(self) -> asyncio.subprocess.Process:
        await self.gate.prepare()
        return await asyncio.create_subprocess_exec(
            self.program, *self.plan.command, stderr=subprocess.DEVNULL
        )


def drawn(command: tuple[str, ...]) -> Plan:
    plan = draw(host=replace(HOST, driver="oci"))
    return replace(plan, command=command, refusals=refusals(MACHINE))


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Stage] = []

    def make(*command: str) -> Stage:
        made.append(Stage(tmp_path, command))
        return made[-1]

    yield make
    for one in made:
        await one.gate.close()


async def test_the_plugin_runs_after_the_word_and_what_it_was_refused_is_told_before_the_end(
    stages: Any,
) -> None:
    stage = stages("/usr/bin/unshare", "--mount", "/bin/true")
    async with asyncio.timeout(WAIT_S):
        process = await stage.start()
        assert await stage.gate.arrive() == process.pid
        assert Path(f"/proc/{process.pid}/exe").readlink() == stage.program
        await stage.gate.open()
        assert await process.wait() == 1
        await stage.gate.close()
    assert stage.told == [{"event": "alarm", "call": UNSHARE, "times": 1}]


async def test_a_plugin_that_is_refused_nothing_tells_nothing(stages: Any) -> None:
    stage = stages("/bin/true")
    async with asyncio.timeout(WAIT_S):
        process = await stage.start()
        await stage.gate.arrive()
        await stage.gate.open()
        assert await process.wait() == 0
        await stage.gate.close()
    assert stage.told == []


async def test_a_command_that_is_not_there_is_refused_by_its_name(stages: Any) -> None:
    stage = stages("/nothing/there")
    async with asyncio.timeout(WAIT_S):
        process = await stage.start()
        await stage.gate.arrive()
        with pytest.raises(Misconfigured, match="/nothing/there: No such file or directory"):
            await stage.gate.open()
        assert await process.wait() == FAILED


async def test_another_program_at_the_door_gets_no_word(stages: Any) -> None:
    stage = stages("/bin/true")
    await stage.gate.prepare()
    visit = (
        "import socket, sys; guest = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); guest.connect(sys.argv[1])\n"
        "guest.send(b'n'); sys.exit(len(guest.recv(4)))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", visit, str(stage.door), stderr=subprocess.DEVNULL
    )
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(Misconfigured, match="is not the one that loads its filter"):
            await stage.gate.arrive()
        await stage.gate.close()
        await process.wait()


async def test_nobody_is_let_in_after_the_first(stages: Any) -> None:
    stage = stages("/bin/sleep", "60")
    async with asyncio.timeout(WAIT_S):
        process = await stage.start()
        await stage.gate.arrive()
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second,
            pytest.raises(ConnectionRefusedError),
        ):
            second.connect(str(stage.door))
        await stage.gate.open()
        process.kill()
        await process.wait()


async def test_a_watcher_that_goes_before_its_plugin_is_noticed(stages: Any) -> None:
    stage = stages("/bin/sleep", "60")
    lost = asyncio.Event()
    stage.gate.on_lost = lost.set
    async with asyncio.timeout(WAIT_S):
        process = await stage.start()
        await stage.gate.arrive()
        await stage.gate.open()
        stage.gate._watcher.kill()
        await lost.wait()
        process.kill()
        await process.wait()


def test_a_watcher_is_told_what_is_an_image_and_what_was_mounted_into_it() -> None:
    plan = drawn(("/bin/true",))
    with_image = dict(watch_request(plan, has_image=True)["places"])
    without = dict(watch_request(plan, has_image=False)["places"])
    assert (with_image.pop("/"), without.pop("/")) == ("image", "root")
    assert with_image == without
