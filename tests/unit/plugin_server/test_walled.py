from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekisho.egress import EgressEvent, EgressSettings, serve
from sekisho.egress.handoff import accept, listen, receive_gate
from sekisho.egress.line import LineEnd
from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.opening import ask
from sekisho.plugin_server.walled import Walled, connect_walled
from sekisho.policy import LimitGrant, NetworkGrant
from sekisho.protocol import JsonLimits
from sekisho.sandbox import Exit, GateSockets, Limits, Plan, Sandbox
from sekisho.sandbox.running.sandbox import Pipes
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

    def __init__(
        self, program: str, doors: Sequence[socket.socket] = (), *, ends_itself: bool = False
    ) -> None:
        self._program = program
        self._ends_itself = ends_itself
        self._doors = doors
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

        def kill(_number: int) -> None:
            if not self._ends_itself:  # else it may be on its way out when its pipes have ended
                process.kill()

        sandbox = Sandbox(number=1, ask_to_kill=kill, pipes=pipes, group=None)
        sandbox.pid = process.pid
        if self._doors:
            sandbox.gate_sockets = GateSockets(*(door.detach() for door in self._doors))
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
    gate_path: Path | None = None,
) -> AbstractAsyncContextManager[Walled]:
    return connect_walled(
        start=lambda: driver.launch(plan),
        limits=LIMITS,
        roots=(),
        gate_path=gate_path,
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
        driver = OpenHouse(f"raise SystemExit({code})", ends_itself=True)
        async with _connect(driver, plan, events, denials.append) as walled:
            await asyncio.wait_for(walled.ended(), WAIT_S)
        await driver.close()
        assert [one.kind for one in denials] == told
        assert all(one.rule == "max_memory_mb = 64" for one in denials)


def _doors() -> list[socket.socket]:
    """Four sockets as a sandbox has them, on loopback; the first is the proxy."""
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    doors = [socket.socket(socket.AF_INET, kind) for kind in (stream, stream, stream, datagram)]
    for door in doors:
        door.bind(("127.0.0.1", 0))
        if door.type is stream:
            door.listen()
    return doors


async def _knock(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n"), WAIT_S)
    finally:
        writer.close()


@asynccontextmanager
async def _egress(path: Path) -> AsyncIterator[None]:
    """An egress process that lists nothing, from when it listens until it ends."""
    ready = asyncio.Event()
    settings = EgressSettings(sockets={"a": (path, NetworkGrant())}, log_folder=path.parent / "log")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(serve(settings, ready=ready.set))
        await ready.wait()
        yield
        task.cancel()


async def test_what_the_gate_refuses_is_told_and_a_new_egress_process_gets_the_sockets_again(
    plan: Plan, events: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    doors, path = _doors(), tmp_path / "gate.sock"
    port = doors[0].getsockname()[1]
    told: asyncio.Queue[DenialFrame] = asyncio.Queue()
    driver = OpenHouse(ECHO, doors)
    async with AsyncExitStack() as stack:
        async with _egress(path):
            await stack.enter_async_context(_connect(driver, plan, events, told.put_nowait, path))
            assert b"403" in await _knock(port)
            first = await asyncio.wait_for(told.get(), WAIT_S)
            assert (first.kind, first.target) == ("connect", "evil.example:443")
        async with _egress(path):  # the sockets wait inside meanwhile, and so does whoever knocks
            assert b"403" in await _knock(port)
            again = await asyncio.wait_for(told.get(), WAIT_S)
            assert again == first
    await driver.close()


async def test_a_plugin_does_not_start_without_its_way_out(
    plan: Plan, events: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    driver = OpenHouse(ECHO, _doors())
    with pytest.raises(Unavailable):
        async with _connect(driver, plan, events, gate_path=tmp_path / "absent"):
            pass
    await driver.close()


async def test_what_went_through_only_to_be_learned_is_told_as_that(
    plan: Plan, events: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    told: asyncio.Queue[DenialFrame] = asyncio.Queue()
    path = tmp_path / "gate.sock"
    driver = OpenHouse(ECHO, _doors())
    went = EgressEvent(
        plugin="a", kind="tls", host="new.example", port=443, allowed=True, reason="", is_learned=True
    )
    with listen(path) as listener:
        async with _connect(driver, plan, events, told.put_nowait, path):
            connection = await accept(listener)
            with await receive_gate(connection), LineEnd(connection) as line:
                line.tell(went)
                line.tell(replace(went, is_learned=False))  # what is listed is nobody's news
                line.tell(replace(went, allowed=False, is_learned=False, reason="no"))
                first, second = [await asyncio.wait_for(told.get(), WAIT_S) for _ in range(2)]
    await driver.close()
    assert (first.kind, first.target, first.reason) == (
        "learned",
        "new.example:443",
        "let through while learning",
    )
    assert second.kind == "connect"
