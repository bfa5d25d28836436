"""The plugin server's listener: takes channels from its core and hands over calls that may run.

- Over TCP or a Unix socket the same TLS, gate, token and seals; nothing is trusted because it is local.
- Surface and state are remembered and told to every core that joins, and to all when they change.
- A renewed certificate on disk is taken up for new connections within half a second, without a restart.
- More than a handful of cores at once is refused: a flood of half-open channels must not starve a real one.

Knows nothing of plugins, sandboxes or MCP.
"""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import msgspec

from sekisho.errors import Misconfigured, SekishoError
from sekisho.keys import HandshakeGate, Identity, PeerRule, ReplayWindow, Revocations, server_context
from sekisho.wire.address import Address, TcpAddress, UnixAddress
from sekisho.wire.frames import Kind
from sekisho.wire.inbound import Inbound
from sekisho.wire.messages import (
    MAX_COUNT,
    MAX_SAID_CHARS,
    AnswerFrame,
    DenialFrame,
    StateFrame,
    SurfaceFrame,
    encode_payload,
)
from sekisho.wire.outbox import Outbox
from sekisho.wire.plugin_end import PluginEnd
from sekisho.wire.terms import Channel, PluginTerms

__all__ = ["Listener"]

MAX_CHANNELS: Final = 64  # core workers, each with one channel and, for moments, its replacement
HANDSHAKE_S: Final = 5.0
SHUTDOWN_S: Final = 1.0
LOOK_S: Final = 0.5
BACKLOG: Final = 128


class Listener:
    """Accepts channels for one plugin."""

    def __init__(
        self,
        *,
        address: Address,
        identity: Identity,
        ca_pem: bytes,
        peer: PeerRule,
        core_token_public: bytes,
        ops: frozenset[str] | None,
        clock: Callable[[], float],
        on_call: Callable[[Inbound], None],
        on_cancel: Callable[[Inbound], None],
        on_answer: Callable[[AnswerFrame], None] = lambda answer: None,
        on_refused: Callable[[SekishoError], None] = lambda error: None,
        revoked: Revocations | None = None,
    ) -> None:
        self.address = address
        gate = HandshakeGate([peer], clock=clock, revoked=revoked)
        self._context = server_context(identity, ca_pem, gate)
        self._identity = identity
        self._loaded = _stamp(identity.cert_path)
        self._terms = PluginTerms(
            identity=identity,
            gate=gate,
            core_token_public=core_token_public,
            ops=ops,
            clock=clock,
            replay=ReplayWindow(),
            on_call=on_call,
            on_cancel=on_cancel,
            on_answer=on_answer,
            on_recorded=lambda number: self._outbox.recorded(number),  # noqa: PLW0108  # made below
            on_joined=self._on_joined,
            on_left=self._on_left,
            on_refused=on_refused,
        )
        self._ends: set[Channel] = set()
        self._outbox = Outbox(lambda: self._ends, clock)
        self._surface: bytes | None = None
        self._state: bytes | None = None
        self._listening = asyncio.Event()

    @property
    def channels(self) -> int:
        """How many cores are joined."""
        return sum(end.is_open for end in self._ends)

    async def wait_listening(self) -> Address:
        """Wait until connections are taken; the address with the real port."""
        await self._listening.wait()
        return self.address

    async def serve(self) -> None:
        """Take channels until cancelled."""
        loop = asyncio.get_running_loop()
        sock = _bind(self.address)
        if isinstance(self.address, TcpAddress):
            self.address = TcpAddress(host=self.address.host, port=sock.getsockname()[1])
        try:
            server = await self._start(loop, sock)
        except OSError as error:
            sock.close()
            raise _cannot_listen(self.address, error) from error
        self._listening.set()
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                self._take_up_renewal()
        finally:
            self._listening.clear()
            server.close()
            for end in [*self._ends]:
                end.cut()
            _forget(self.address)

    def publish_surface(self, surface: SurfaceFrame) -> None:
        """Tell every core, now and whenever one joins, what the plugin offers."""
        self._surface = encode_payload(surface)
        for end in self._ends:
            end.send(Kind.SURFACE, self._surface)

    def publish_state(self, state: StateFrame) -> None:
        """Tell every core, now and whenever one joins, how the plugin is."""
        self._state = encode_payload(
            msgspec.structs.replace(
                state, detail=state.detail[:MAX_SAID_CHARS], restarts=min(state.restarts, MAX_COUNT)
            )
        )
        for end in self._ends:
            end.send(Kind.STATE, self._state)

    def publish_denial(self, denial: DenialFrame) -> None:
        """Have one core record that a wall refused something; it waits for a core if none is joined."""
        self._outbox.put(denial)

    async def _start(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> asyncio.Server:
        def make() -> asyncio.BaseProtocol:
            return cast(asyncio.BaseProtocol, PluginEnd(self._terms, loop))

        start = loop.create_unix_server if isinstance(self.address, UnixAddress) else loop.create_server
        return await start(
            make,
            sock=sock,
            ssl=self._context,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )

    def _on_joined(self, end: Channel) -> None:
        if not end.is_open:
            self._ends.add(end)
            if len(self._ends) > MAX_CHANNELS:
                end.cut()
            return
        for kind, payload in ((Kind.SURFACE, self._surface), (Kind.STATE, self._state)):
            if payload is not None:
                end.send(kind, payload)
        self._outbox.send_again()

    def _on_left(self, end: Channel) -> None:
        self._ends.discard(end)
        self._outbox.send_again()

    def _take_up_renewal(self) -> None:
        stamp = _stamp(self._identity.cert_path)
        if stamp == self._loaded:
            return
        try:
            self._identity.fresh()
            self._context.load_cert_chain(self._identity.cert_path, self._identity.key_path)
        except (SekishoError, OSError) as error:
            self._terms.on_refused(
                error
                if isinstance(error, SekishoError)
                else Misconfigured("key_unavailable", f"the renewed certificate cannot be used: {error}")
            )
            return  # the next look tries again; the old certificate still serves
        self._loaded = stamp


def _forget(address: Address) -> None:
    if isinstance(address, UnixAddress):
        Path(address.path).unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0)
    return (facts.st_mtime_ns, facts.st_ino)


def _bind(address: Address) -> socket.socket:
    try:
        if isinstance(address, TcpAddress):
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
        path = Path(address.path)
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # left behind by a run that was killed
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(address.path)
            path.chmod(0o600)  # before listen: nobody can connect through a looser mode
        except OSError:
            sock.close()
            raise
        return sock
    except OSError as error:
        raise _cannot_listen(address, error) from error


def _cannot_listen(address: Address, error: OSError) -> Misconfigured:
    return Misconfigured(
        "config_invalid", f"cannot listen on {address}: {error}", remedy="choose a free address"
    )
