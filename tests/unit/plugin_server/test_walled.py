from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import SekishoError
from sekisho.plugin_server.opening import ask
from sekisho.plugin_server.walled import Walled, connect_walled
from sekisho.policy import LimitGrant
from sekisho.protocol import JsonLimits
from sekisho.sandbox import Exit, Limits, Plan, Sandbox
from sekisho.sandbox.running import Pipes
from sekisho.wire import DenialFrame

WAIT_S = 5.0
OUT_OF_MEMORY = 77  # what the pretended kernel takes for a kill for memory
LIMITS = JsonLimits(max_bytes=1 << 16)
ECHO = "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)\n"
ANSWER_EVERYTHING = """
import sys, json
for line in sys.stdin:
    ident = json.loads(line)["id"]
    print(json.dumps({"jsonrpc": "2.0", "id": ident, "result": {"ok": 1}}), flush=True)
"""


class OpenHouse:
    """A driver without walls: a real process on real pipes, so that only the joining is under test."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._waiters: list[asyncio.Task[None]] = []
        self.sandbox: Sandbox | None = None

    async def launch(self, plan: Plan) -> Sandbox:
        pipes = Pipes()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-Ic",
            self._program,
            stdin=pipes.theirs[0],
            stdout=pipes.theirs[1],
            stderr=pipes.theirs[2],
        )
        pipes.close_theirs()
        sandbox = Sandbox(number=1, ask_to_kill=lambda number: process.kill(), pipes=pipes, group=None)
        sandbox.pid = process.pid
        self._waiters.append(asyncio.get_running_loop().create_task(_wait(process, sandbox)))
        self.sandbox = sandbox
        return sandbox

    async def close(self) -> None:
        await asyncio.gather(*self._waiters)


async def _wait(process: asyncio.subprocess.Process, sandbox: Sandbox) -> None:
    code = await process.wait()
    sandbox.end(Exit(code=code, signal=None, reason="oom" if code == OUT_OF_MEMORY else "exited"))


@pytest.fixture
def events() -> list[tuple[str, dict[str, Any]]]:
    return []


def _connect(
    driver: OpenHouse,
    plan: Plan,
    events: list[tuple[str, dict[str, Any]]],
    on_denial: Callable[[DenialFrame], None] = lambda denial: None,
) -> AbstractAsyncContextManager[Walled]:
    return connect_walled(
        start=lambda: driver.launch(plan),
        limits=LIMITS,
        roots=(),
        gate_path=None,
        log=lambda event, **facts: events.append((event, facts)),
        on_list_changed=lambda: None,
        on_denial=on_denial,
        grant=LimitGrant(max_memory_mb=64),
    )


@pytest.fixture
def plan() -> Plan:
    return Plan(
        name="fake",
        program="/bin/false",
        options=(),
        command=(),
        mounts=(),
        environment={},
        data={},
        limits=Limits(
            memory_bytes=0,
            cpu_percent=0,
            pids=0,
            memory_by="guard",
            pids_by="rlimit",
            cpu_by="guard",
            rlimits=(),
            inner_rlimits=(),
        ),
        wants_network=False,
        cgroup_parents=(),
        cgroup_version="none",
    )


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.threat("T-ORPHAN")
async def test_a_process_is_spoken_to_and_does_not_outlive_its_context(
    plan: Plan, events: list[tuple[str, dict[str, Any]]]
) -> None:
    driver = OpenHouse(ANSWER_EVERYTHING)
    async with _connect(driver, plan, events) as walled:
        assert json.loads(await ask(walled.session, "ping", None, WAIT_S)) == {"ok": 1}
        assert driver.sandbox is not None
        assert _lives(driver.sandbox.pid)
    await driver.close()
    assert not _lives(driver.sandbox.pid)
    assert events == []


async def test_a_process_that_ends_is_noticed(plan: Plan, events: list[tuple[str, dict[str, Any]]]) -> None:
    driver = OpenHouse("raise SystemExit(3)")
    async with _connect(driver, plan, events) as walled:
        error = await asyncio.wait_for(walled.ended(), WAIT_S)
        assert error.code == "plugin_exited"
    await driver.close()


async def test_a_killed_process_is_gone(plan: Plan, events: list[tuple[str, dict[str, Any]]]) -> None:
    driver = OpenHouse(ECHO)
    async with _connect(driver, plan, events) as walled:
        await walled.kill()
        assert (await asyncio.wait_for(walled.ended(), WAIT_S)).code == "plugin_exited"
    await driver.close()


@pytest.mark.threat("T-GARBAGE")
async def test_noise_is_logged_by_its_amount_and_never_by_its_words(
    plan: Plan, events: list[tuple[str, dict[str, Any]]]
) -> None:
    driver = OpenHouse("print('secret words\\nmore', flush=True)\n" + ANSWER_EVERYTHING)
    async with _connect(driver, plan, events) as walled:
        await ask(walled.session, "ping", None, WAIT_S)  # the answer comes after the noise
    await driver.close()
    assert events == [("plugin_noise", {"garbage_lines": 2, "stderr_bytes": 0})]


@pytest.mark.threat("T-GARBAGE")
async def test_an_endless_line_ends_the_process(plan: Plan, events: list[tuple[str, dict[str, Any]]]) -> None:
    driver = OpenHouse("import sys\nwhile True:\n    sys.stdout.write('x' * 65536)\n")
    async with _connect(driver, plan, events) as walled:
        assert (await asyncio.wait_for(walled.ended(), WAIT_S)).code == "result_too_large"
    await driver.close()


async def test_an_exception_inside_still_ends_the_process(
    plan: Plan, events: list[tuple[str, dict[str, Any]]]
) -> None:
    driver = OpenHouse(ECHO)
    with pytest.raises(ExceptionGroup):
        async with _connect(driver, plan, events):
            raise SekishoErrorOfTest
    await driver.close()
    assert driver.sandbox is not None
    assert not _lives(driver.sandbox.pid)


class SekishoErrorOfTest(SekishoError):
    """Raised inside the context."""

    def __init__(self) -> None:
        super().__init__("internal", "on purpose")


async def test_an_end_for_memory_is_told_as_a_denial_and_another_end_is_not(
    plan: Plan, events: list[tuple[str, dict[str, Any]]]
) -> None:
    for code, told in ((OUT_OF_MEMORY, ["memory"]), (3, [])):
        denials: list[DenialFrame] = []
        driver = OpenHouse(f"raise SystemExit({code})")
        async with _connect(driver, plan, events, denials.append) as walled:
            await asyncio.wait_for(walled.ended(), WAIT_S)
        await driver.close()
        assert [one.kind for one in denials] == told
        assert all(one.rule == "max_memory_mb = 64" for one in denials)
