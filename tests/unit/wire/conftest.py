"""What the tests of `wire` share: two identities, and both ends joined through memory instead of TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import SekishoError
from sekisho.keys import (
    HandshakeGate,
    Identity,
    KeyFolder,
    PeerFacts,
    ReplayWindow,
    Revocations,
    Role,
    SpiffeId,
)
from sekisho.keys.gate import spki_sha256
from sekisho.wire import AnswerFrame, CallFrame, DenialFrame, Inbound, StateFrame, SurfaceFrame
from sekisho.wire.core_end import CoreEnd, CoreTerms
from sekisho.wire.plugin_end import PluginEnd
from sekisho.wire.terms import PluginTerms

NOW = 1_800_000_000.0
OPS = frozenset({"echo", "hold"})


class Memory(asyncio.Transport):
    """One end of a stream in memory: what is written arrives at the peer one loop turn later, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer_facts: PeerFacts) -> None:
        super().__init__()
        self.loop = loop
        self.peer_facts = peer_facts
        self.owner: CoreEnd | PluginEnd
        self.other: Memory
        self.writes: list[bytes] = []
        self.tamper: Callable[[bytes], bytes] = bytes
        self.closed = False
        self.reading = True
        self.piece = 1 << 20
        self.queued = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "ssl_object" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.writes.append(bytes(data))
            self.loop.call_soon(self.other.arrive, self.tamper(bytes(data)))

    def arrive(self, data: bytes) -> None:
        while data and not self.closed:
            room = memoryview(self.owner.get_buffer(len(data)))
            count = min(len(room), len(data), self.piece)
            room[:count] = data[:count]
            data = data[count:]
            self.owner.buffer_updated(count)

    def get_write_buffer_size(self) -> int:
        return self.queued

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.loop.call_soon(self.abort)  # after everything that was written

    def abort(self) -> None:
        for end in (self, self.other):
            if not end.closed:
                end.closed = True
                self.loop.call_soon(end.owner.connection_lost, None)


@dataclass
class House:
    """Keys, a clock that stands still until moved, and a record of what happened."""

    folder: KeyFolder
    core: Identity
    plugin: Identity
    now: float = NOW
    revoked: Revocations = field(default_factory=Revocations)
    inbound: list[Inbound] = field(default_factory=list)
    cancelled: list[Inbound] = field(default_factory=list)
    refused: list[SekishoError] = field(default_factory=list)
    surfaces: list[SurfaceFrame] = field(default_factory=list)
    states: list[StateFrame] = field(default_factory=list)
    denials: list[tuple[DenialFrame, Callable[[], None]]] = field(default_factory=list)
    answers: list[bytes | memoryview | SekishoError] = field(default_factory=list)
    client_answers: list[AnswerFrame] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)
    replay: ReplayWindow = field(default_factory=ReplayWindow)

    def clock(self) -> float:
        return self.now

    def on_call(self, inbound: Inbound) -> None:
        self.inbound.append(inbound)
        if inbound.frame.tool == "echo":
            inbound.reply(inbound.frame.arguments)

    def core_terms(self, ops: frozenset[str] = OPS) -> CoreTerms:
        return CoreTerms(
            identity=self.core,
            gate=HandshakeGate(
                [self.folder.public_identity(self.plugin.spiffe).rule], clock=self.clock, revoked=self.revoked
            ),
            peer_hpke_public=self.folder.public_identity(self.plugin.spiffe).hpke_public,
            ops=ops,
            clock=self.clock,
            on_open=lambda end: None,
            on_surface=self.surfaces.append,
            on_state=self.states.append,
            on_denial=lambda denial, recorded: self.denials.append((denial, recorded)),
        )

    def plugin_terms(self, ops: frozenset[str] = OPS) -> PluginTerms:
        public = self.folder.public_identity(self.core.spiffe)
        return PluginTerms(
            identity=self.plugin,
            gate=HandshakeGate([public.rule], clock=self.clock, revoked=self.revoked),
            core_token_public=public.token_public,
            ops=ops,
            clock=self.clock,
            replay=self.replay,
            on_call=self.on_call,
            on_cancel=self.cancelled.append,
            on_answer=self.client_answers.append,
            on_recorded=self.recorded.append,
            on_joined=lambda end: None,
            on_left=lambda end: None,
            on_refused=self.refused.append,
        )

    def join(self, core_terms: CoreTerms | None = None, plugin_terms: PluginTerms | None = None) -> Joined:
        """Two ends, joined and opening."""
        loop = asyncio.get_running_loop()
        core = CoreEnd(core_terms or self.core_terms(), loop)
        plugin = PluginEnd(plugin_terms or self.plugin_terms(), loop)
        near, far = Memory(loop, facts(self.plugin)), Memory(loop, facts(self.core))
        near.owner, near.other, far.owner, far.other = core, far, plugin, near
        far.owner.connection_made(far)
        near.owner.connection_made(near)
        return Joined(core=core, plugin=plugin, near=near, far=far)


@dataclass
class Joined:
    """Both ends of a channel and the stream between them."""

    core: CoreEnd
    plugin: PluginEnd
    near: Memory
    far: Memory

    async def opened(self) -> SekishoError | None:
        return await asyncio.wait_for(asyncio.shield(self.core.opened), 5)

    async def lost(self) -> SekishoError:
        return await asyncio.wait_for(asyncio.shield(self.core.lost), 5)


def facts(identity: Identity) -> PeerFacts:
    return PeerFacts(
        spiffe=identity.spiffe,
        serial=identity.serial,
        not_after=identity.not_after,
        x5t_s256=identity.x5t_s256,
        spki_sha256=spki_sha256(identity.certificate),
    )


@pytest.fixture
def house(tmp_path: Path) -> House:
    folder = KeyFolder(tmp_path / "keys", "example.org")
    folder.ensure_authority(NOW)
    core = folder.ensure_identity(SpiffeId(trust_domain="example.org", role=Role.CORE, name="main"), NOW)
    plugin = folder.ensure_identity(SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="echo"), NOW)
    return House(folder=folder, core=core, plugin=plugin)


@pytest.fixture
def echo() -> CallFrame:
    return CallFrame(tool="echo", arguments=b'{"n":1}', digest="sha256:0", timeout_s=5.0)


@pytest.fixture
def hold() -> CallFrame:
    return CallFrame(tool="hold", arguments=b"{}", digest="sha256:0", timeout_s=5.0)


@pytest.fixture
def settle() -> Callable[[], Any]:
    """Let the loop turn until what was queued in memory has arrived."""

    async def turn() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    return turn
