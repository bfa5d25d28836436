"""The wire over real sockets: TLS on loopback TCP and on Unix sockets, under asyncio and uvloop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from tests.framing import another

from sekisho.errors import SekishoError
from sekisho.keys import Identity, KeyFolder, PeerRule, Revocations, Role, SpiffeId
from sekisho.wire import (
    Address,
    CallFrame,
    Inbound,
    Listener,
    PlugLine,
    StateFrame,
    SurfaceFrame,
    TcpAddress,
    UnixAddress,
)
from sekisho.wire.calls import encode_call
from sekisho.wire.frames import Kind, frame_head

pytestmark = pytest.mark.real

CUT_S = 1.0
OPS = frozenset({"echo", "hold"})
CORE = SpiffeId(trust_domain="example.org", role=Role.CORE, name="main")
PLUGIN = SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="echo")
STRANGER = SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="stranger")
ECHO = CallFrame(tool="echo", arguments=b'{"n":1}', digest="sha256:0", timeout_s=10.0)
HOLD = another(ECHO, tool="hold")
SURFACE = SurfaceFrame(
    server_info=msgspec.Raw(b'{"name":"echo"}'),
    capabilities=msgspec.Raw(b"{}"),
    tools=[msgspec.Raw(b'{"name":"echo"}')],
)

Run = Callable[[Coroutine[Any, Any, None]], None]


@dataclass
class Bench:
    """Both ends' keys, and everything that was reported."""

    folder: KeyFolder
    address: Address
    core: Identity
    plugin: Identity
    revoked_at_core: Revocations = field(default_factory=Revocations)
    revoked_at_plugin: Revocations = field(default_factory=Revocations)
    inbound: list[Inbound] = field(default_factory=list)
    cancelled: list[Inbound] = field(default_factory=list)
    refused: list[SekishoError] = field(default_factory=list)
    down: list[SekishoError] = field(default_factory=list)
    surfaces: list[SurfaceFrame] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ready: int = 0

    def on_call(self, inbound: Inbound) -> None:
        self.inbound.append(inbound)
        if inbound.frame.tool == "echo":
            inbound.reply(inbound.frame.arguments)
        self.changed.set()

    def on_state(self, state: StateFrame) -> None:
        self.ready += state.state == "ready"
        self.changed.set()

    def note(self, where: list[Any]) -> Callable[[Any], None]:
        def append(thing: Any) -> None:
            where.append(thing)
            self.changed.set()

        return append

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not done():
                await self.changed.wait()
                self.changed.clear()

    def listener(self, **changes: Any) -> Listener:
        public = self.folder.public_identity(CORE)
        settings: dict[str, Any] = {
            "address": self.address,
            "identity": self.plugin,
            "ca_pem": self.folder.ca_pem(),
            "peer": public.rule,
            "core_token_public": public.token_public,
            "ops": OPS,
            "clock": time.time,
            "on_call": self.on_call,
            "on_cancel": self.note(self.cancelled),
            "on_refused": self.note(self.refused),
            "revoked": self.revoked_at_plugin,
        }
        listener = Listener(**settings | changes)
        listener.publish_surface(SURFACE)
        listener.publish_state(StateFrame(state="ready"))
        return listener

    def line(self, **changes: Any) -> PlugLine:
        public = self.folder.public_identity(PLUGIN)
        settings: dict[str, Any] = {
            "address": self.address,
            "peer": public.rule,
            "peer_hpke_public": public.hpke_public,
            "identity": self.core,
            "ca_pem": self.folder.ca_pem(),
            "ops": OPS,
            "clock": time.time,
            "on_surface": self.note(self.surfaces),
            "on_denial": lambda denial, recorded: recorded(),
            "on_state": self.on_state,
            "on_down": self.note(self.down),
            "revoked": self.revoked_at_core,
            "jitter": lambda: 0.0,
        }
        return PlugLine(**settings | changes)

    async def ask(self, line: PlugLine, frame: CallFrame = ECHO) -> bytes | memoryview | SekishoError:
        answer: asyncio.Future[bytes | memoryview | SekishoError] = asyncio.get_running_loop().create_future()
        line.call(frame, answer.set_result)
        async with asyncio.timeout(20):
            return await answer


@asynccontextmanager
async def serving(bench: Bench, **changes: Any) -> AsyncIterator[Listener]:
    listener = bench.listener(**changes)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.serve())
        bench.address = await listener.wait_listening()
        yield listener
        task.cancel()


@asynccontextmanager
async def lined(bench: Bench, **changes: Any) -> AsyncIterator[PlugLine]:
    line = bench.line(**changes)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(line.run())
        yield line
        task.cancel()


@asynccontextmanager
async def joined(bench: Bench) -> AsyncIterator[PlugLine]:
    async with serving(bench), lined(bench) as line:
        await bench.until(lambda: bench.ready == 1)
        yield line


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = KeyFolder(tmp_path / "keys", "example.org")
    now = time.time()
    return Bench(
        folder=folder,
        address=UnixAddress(path=str(tmp_path / "echo.sock")),
        core=folder.ensure_identity(CORE, now),
        plugin=folder.ensure_identity(PLUGIN, now),
    )


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return asyncio.run if request.param == "asyncio" else uvloop.run


@pytest.fixture(params=["tcp", "unix"])
def either(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    if request.param == "tcp":
        bench.address = TcpAddress(host="127.0.0.1", port=0)
    return bench


@pytest.mark.requirement("A4.1")
@pytest.mark.requirement("A4.2")
@pytest.mark.requirement("A4.3")
def test_a_call_makes_the_round_trip_over_both_sockets_under_both_loops(run: Run, either: Bench) -> None:
    async def main() -> None:
        async with joined(either) as line:
            assert line.is_up
            assert await either.ask(line) == b'{"n":1}'
            assert bytes(either.surfaces[0].tools[0]) == b'{"name":"echo"}'
            large = b'"' + b"x" * 1_000_000 + b'"'
            assert await either.ask(line, another(ECHO, arguments=large)) == large

    run(main())
    assert either.down == []
    assert either.refused == []


def test_a_long_story_of_a_plugin_is_cut_and_ends_no_line(run: Run, bench: Bench) -> None:
    heard: list[StateFrame] = []

    async def main() -> None:
        async with serving(bench) as listener, lined(bench, on_state=bench.note(heard)) as line:
            await bench.until(lambda: len(heard) == 1)
            listener.publish_state(StateFrame(state="failed", detail="x" * 10_000, restarts=1 << 60))
            await bench.until(lambda: len(heard) == 2)
            assert line.is_up

    run(main())
    assert (len(heard[1].detail), heard[1].restarts) == (400, 1 << 53)
    assert bench.down == []


def test_progress_of_many_calls_comes_in_order_before_each_answer_and_none_is_lost(
    run: Run, either: Bench
) -> None:
    wanted = another(HOLD, wants_progress=True)

    async def main() -> None:
        async with joined(either) as line:
            heard: list[list[bytes | memoryview | SekishoError]] = [[] for _ in range(20)]
            answered = 0

            def answer(
                one: list[bytes | memoryview | SekishoError], result: bytes | memoryview | SekishoError
            ) -> None:
                nonlocal answered
                one.append(result)
                answered += 1
                either.changed.set()

            for one in heard:
                line.call(wanted, partial(answer, one), one.append)
            await either.until(lambda: len(either.inbound) == 20)
            for number in range(10):
                for inbound in either.inbound:
                    inbound.note(b"%d" % number)
            for inbound in either.inbound:
                inbound.reply(b"{}")
            await either.until(lambda: answered == 20)
            assert heard == [[*(b"%d" % number for number in range(10)), b"{}"]] * 20

    run(main())


def test_a_thousand_calls_at_once_are_all_answered(run: Run, either: Bench) -> None:
    async def main() -> None:
        async with joined(either) as line:
            frames = [another(ECHO, arguments=b"%d" % number) for number in range(1000)]
            answers = await asyncio.gather(*(either.ask(line, frame) for frame in frames))
            assert answers == [b"%d" % number for number in range(1000)]
            assert line.in_flight == 0

    run(main())


def test_the_line_comes_back_after_the_plugin_server_restarts(run: Run, either: Bench) -> None:
    async def main() -> None:
        async with serving(either):
            line = either.line()
            group = asyncio.TaskGroup()
            await group.__aenter__()
            task = group.create_task(line.run())
            await either.until(lambda: either.ready == 1)
            held = asyncio.ensure_future(either.ask(line, HOLD))
            await either.until(lambda: len(either.inbound) == 1)
        lost = await held
        assert isinstance(lost, SekishoError)
        assert lost.code == "plugin_unavailable"
        assert not line.is_up
        async with serving(either):
            await either.until(lambda: either.ready == 2)
            assert await either.ask(line) == b'{"n":1}'
            assert len(either.surfaces) == 2
            task.cancel()
            await group.__aexit__(None, None, None)

    run(main())
    assert len(either.cancelled) == 1


def other_authority(tmp_path: Path, who: SpiffeId) -> Identity:
    return KeyFolder(tmp_path / "other", "example.org").ensure_identity(who, time.time())


def past_identity(tmp_path: Path, bench: Bench, who: SpiffeId) -> Identity:
    """An identity of our own authority whose hour is over."""
    old = tmp_path / "past"
    (old / "authority").mkdir(parents=True)
    for name in ("ca.crt", "ca.key"):
        (old / "authority" / name).write_bytes((bench.folder.path / "authority" / name).read_bytes())
        (old / "authority" / name).chmod(0o600)
    return KeyFolder(old, "example.org").ensure_identity(who, time.time() - 7200)


@pytest.mark.requirement("A4.1")
@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize("fault", ["authority", "spiffe", "pin", "expired", "revoked"])
def test_a_core_that_is_not_ours_is_refused_and_told_clearly(
    run: Run, bench: Bench, tmp_path: Path, fault: str
) -> None:
    identity = bench.core
    if fault == "authority":
        identity = other_authority(tmp_path, CORE)
    elif fault == "spiffe":
        identity = bench.folder.ensure_identity(STRANGER, time.time())
    elif fault == "expired":
        identity = past_identity(tmp_path, bench, CORE)
    elif fault == "revoked":
        bench.revoked_at_plugin.revoke(identity.serial)
    rule = bench.folder.public_identity(CORE).rule
    if fault == "pin":
        rule = PeerRule(spiffe=CORE, spki_pins=frozenset({"0" * 64}))

    async def main() -> None:
        async with serving(bench, peer=rule), lined(bench, identity=identity) as line:
            await bench.until(lambda: len(bench.down) == 1)
            assert not line.is_up

    run(main())
    assert bench.down[0].code == "peer_untrusted"
    assert bench.inbound == []


@pytest.mark.requirement("A4.1")
@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize("fault", ["authority", "spiffe", "pin", "expired", "revoked"])
def test_a_plugin_server_that_is_not_ours_gets_no_call(
    run: Run, bench: Bench, tmp_path: Path, fault: str
) -> None:
    identity = bench.plugin
    rule = bench.folder.public_identity(PLUGIN).rule
    if fault == "authority":
        identity = other_authority(tmp_path, PLUGIN)
    elif fault == "spiffe":
        identity = bench.folder.ensure_identity(STRANGER, time.time())
    elif fault == "expired":
        identity = past_identity(tmp_path, bench, PLUGIN)
    elif fault == "revoked":
        bench.revoked_at_core.revoke(identity.serial)
    elif fault == "pin":
        rule = PeerRule(spiffe=PLUGIN, spki_pins=frozenset({"0" * 64}))

    async def main() -> None:
        async with serving(bench, identity=identity), lined(bench, peer=rule) as line:
            await bench.until(lambda: len(bench.down) == 1)
            assert not line.is_up

    run(main())
    assert bench.down[0].code == "peer_untrusted"
    assert bench.inbound == []


@pytest.mark.requirement("A2.2")
@pytest.mark.threat("T-OPERATION")
def test_a_token_without_the_operation_is_refused_by_the_plugin_server(run: Run, bench: Bench) -> None:
    async def main() -> None:
        async with serving(bench), lined(bench, ops=frozenset({"hold"})) as line:
            await bench.until(lambda: bench.ready == 1)
            answer = await bench.ask(line)
            assert isinstance(answer, SekishoError)
            assert answer.code == "operation_not_allowed"

    run(main())
    assert bench.inbound == []


@pytest.mark.requirement("A4.3")
@pytest.mark.threat("T-REPLAY")
def test_a_replayed_record_ends_the_channel_and_the_line_comes_back(run: Run, bench: Bench) -> None:
    async def main() -> None:
        async with joined(bench) as line:
            end = line._current
            assert end is not None
            assert end._pipe is not None
            assert end._transport is not None
            payload = encode_call(ECHO)
            record = end._pipe.seals.seal(frame_head(Kind.CALL, 77, len(payload)) + payload)
            end._transport.write((len(record).to_bytes(4) + record) * 2)
            await bench.until(lambda: bench.ready == 2)
            assert await bench.ask(line) == b'{"n":1}'

    run(main())
    assert [error.code for error in bench.refused] == ["seal_broken"]
    assert [inbound.call for inbound in bench.inbound] == [77, 1]


@pytest.mark.requirement("A4.1")
@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize("side", ["core", "plugin"])
def test_trap_four_revocation_cuts_a_live_idle_connection(run: Run, bench: Bench, side: str) -> None:
    """Within a second; of a few, because one may meet a machine that is busy with something else."""
    took_s: list[float] = []

    async def main() -> None:
        async with joined(bench) as line:
            assert await bench.ask(line) == b'{"n":1}'
            begin = time.monotonic()
            if side == "core":
                bench.revoked_at_plugin.revoke(bench.core.serial)
            else:
                bench.revoked_at_core.revoke(bench.plugin.serial)
            await bench.until(lambda: bool(bench.down))
            took_s.append(time.monotonic() - begin)
            assert not line.is_up

    while len(took_s) < 5 and min(took_s, default=CUT_S + 1) > CUT_S:
        bench.revoked_at_core, bench.revoked_at_plugin = Revocations(), Revocations()
        bench.down.clear()
        bench.ready = 0
        run(main())
    assert min(took_s) <= CUT_S


def test_replacing_the_channel_drops_no_call_in_flight(run: Run, either: Bench) -> None:
    async def main() -> None:
        async with joined(either) as line:
            held = asyncio.ensure_future(either.ask(line, HOLD))
            await either.until(lambda: len(either.inbound) == 1)
            line.replace_now()
            await either.until(lambda: either.ready == 2)
            assert await either.ask(line) == b'{"n":1}'
            assert line.in_flight == 1
            either.inbound[0].reply(b"held")
            assert await held == b"held"
            withdrawn = asyncio.get_running_loop().create_future()
            number = line.call(HOLD, withdrawn.set_result)
            line.cancel(number)
            assert (await withdrawn).code == "cancelled"

    run(main())
    assert either.down == []


@pytest.mark.requirement("A4.1")
def test_leaves_are_renewed_under_load_without_a_failed_call(run: Run, tmp_path: Path) -> None:
    """Eight-second leaves, renewed on disk at half life; calls run for longer than any leaf lives."""
    folder, life_s = KeyFolder(tmp_path / "keys", "example.org"), 8.0
    started = time.time()
    identities = [folder.ensure_identity(who, started, life_s=life_s) for who in (CORE, PLUGIN)]
    address = UnixAddress(path=str(tmp_path / "echo.sock"))
    bench = Bench(folder=folder, address=address, core=identities[0], plugin=identities[1])
    answers: list[bytes | memoryview | SekishoError] = []

    async def main() -> None:
        async with joined(bench) as line:
            while time.time() < started + 1.7 * life_s:
                for who in (CORE, PLUGIN):
                    folder.renew_if_half_life(who, time.time())
                answers.extend(await asyncio.gather(*(bench.ask(line) for _ in range(20))))
                await asyncio.sleep(0.02)  # a gentle load on purpose; no assertion depends on it

    run(main())
    assert set(answers) == {b'{"n":1}'}
    assert bench.down == []
    assert bench.ready >= 2
    assert folder.identity(CORE).serial != identities[0].serial
