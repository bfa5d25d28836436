"""The core's line to one plugin server: always trying to be up, never losing an answer in silence.

- `run` connects, reconnects with growing pauses, and replaces the channel in time: at half of what is left
  of both certificates, after half an hour, or when its seals are half used. The new channel is up before
  the old one stops taking calls, and the old one finishes what it carries.
- The identity is read from disk at every connection, so a renewed certificate needs no word from anybody.
- Denials are passed on at a bounded rate, whatever the other side is made of.
- `call` never waits and never raises: its answer comes to `done`, once, not before `call` has returned.

Knows nothing of MCP, rules or logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from typing import Final, cast

from sekisho.errors import SekishoError, Tampered, Unavailable
from sekisho.keys import HandshakeGate, Identity, PeerRule, Revocations, client_context
from sekisho.wire.address import Address, UnixAddress
from sekisho.wire.calls import CallFrame
from sekisho.wire.core_end import CoreEnd, CoreTerms, Done, Hear, Note
from sekisho.wire.messages import AnswerFrame, DenialFrame, StateFrame, SurfaceFrame
from sekisho.wire.outbox import Hearing

__all__ = ["PlugLine"]

CONNECT_S: Final = 10.0  # connection, handshake and hello together
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
EPOCH_S: Final = 1800.0  # new seal keys at least this often
EPOCH_RECORDS: Final = 1 << 31  # half of what one seal pair may carry
LOOK_S: Final = 600.0  # how often a quiet line asks whether its channel is worn
SHUTDOWN_S: Final = 1.0


class PlugLine:
    """The line to one plugin server."""

    def __init__(
        self,
        *,
        address: Address,
        peer: PeerRule,
        peer_hpke_public: bytes,
        identity: Identity,
        ca_pem: bytes,
        ops: frozenset[str],
        clock: Callable[[], float],
        on_surface: Callable[[SurfaceFrame], None],
        on_state: Callable[[StateFrame], None],
        on_denial: Callable[[DenialFrame, Callable[[], None]], None],
        on_down: Callable[[SekishoError], None],
        revoked: Revocations | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.address = address
        self._gate = HandshakeGate([peer], clock=clock, revoked=revoked)
        self._peer_hpke_public = peer_hpke_public
        self._identity = identity
        self._ca_pem = ca_pem
        self._ops = ops
        self._clock = clock
        self._on_surface = on_surface
        self._on_state = on_state
        self._denials = Hearing(on_denial, clock)
        self._on_down = on_down
        self._jitter = jitter
        self._current: CoreEnd | None = None
        self._draining: set[CoreEnd] = set()
        self._last_call = 0
        self._replacement_asked = False
        self._woken = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """True when a call would be sent now."""
        return self._current is not None and self._current.is_open

    @property
    def in_flight(self) -> int:
        """Calls without an answer, on all channels."""
        current = 0 if self._current is None else self._current.in_flight
        return current + sum(end.in_flight for end in self._draining)

    def call(self, frame: CallFrame, done: Done, note: Note | None = None, hear: Hear | None = None) -> int:
        """Send a call; `done` gets the raw result or the error, once. Returns the number for `cancel`.

        `note` hears before that of progress notifications, each as a line with the raw JSON of its params without a
        token, if the frame wants them; `hear` of other notifications and of what the plugin asks the client.
        """
        self._last_call = number = self._last_call + 1
        if self._current is None:
            asyncio.get_running_loop().call_soon(done, _down())
        else:
            self._current.call(number, frame, done, note, hear)
        return number

    def expect(self) -> None:
        """A call will probably come once what is due in the loop has been done: it leaves without another turn."""
        if self._current is not None:
            self._current.expect()

    def answer(self, frame: AnswerFrame) -> None:
        """Pass on what a client answered to a question of the plugin."""
        if self._current is not None:
            self._current.answer(frame)

    def cancel(self, number: int) -> None:
        """Withdraw a call; `done` gets `cancelled` unless it was answered before."""
        if self._current is None or not self._current.cancel(number):
            for end in self._draining:
                if end.cancel(number):
                    return

    def replace_now(self) -> None:
        """Ask for a fresh channel, as after a change of keys; calls in flight are not disturbed."""
        self._replacement_asked = True
        self._woken.set()

    async def run(self) -> None:
        """Keep the line up until cancelled."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                try:
                    await self._open()
                except SekishoError as error:
                    self._on_down(error)
                    await asyncio.sleep(pause * (0.5 + self._jitter()))
                    pause = min(pause * 2, LONGEST_PAUSE_S)
                    continue
                pause = FIRST_PAUSE_S
                self._on_down(await self._hold())
        finally:
            self._close()

    async def _hold(self) -> SekishoError:
        """Wait until the current channel is lost, replacing it whenever it is due."""
        opened_at = self._clock()
        while self._current is not None:
            end = self._current
            # never twice in a second, however little is left of a certificate that nobody renews
            due = max(min(opened_at + EPOCH_S, (opened_at + end.not_after) / 2), opened_at + 1.0)
            await self._wait(end, min(max(due - self._clock(), 0.0), LOOK_S))
            if end.lost.done():
                self._current = None
                return end.lost.result()
            if not self._replacement_asked and self._clock() < due and end.records < EPOCH_RECORDS:
                continue
            self._replacement_asked = False
            opened_at = self._clock()  # also after a failure: the next try comes at half of what is then left
            try:
                await self._open()
            except SekishoError:
                continue  # the old channel lives on; if nothing is mended it ends with its certificate
        return _down()

    async def _wait(self, end: CoreEnd, timeout_s: float) -> None:
        end.lost.add_done_callback(self._wake)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        end.lost.remove_done_callback(self._wake)
        self._woken.clear()

    def _wake(self, _: object) -> None:
        self._woken.set()

    def _take(self, end: CoreEnd) -> None:
        """Send new calls over `end`; the channel before it finishes what it carries."""
        old, self._current = self._current, end
        if old is not None and not old.lost.done():
            self._draining.add(old)
            old.lost.add_done_callback(lambda _: self._draining.discard(old))
            old.drain()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        identity = self._identity.fresh()
        terms = CoreTerms(
            identity=identity,
            gate=self._gate,
            peer_hpke_public=self._peer_hpke_public,
            ops=self._ops,
            clock=self._clock,
            on_open=self._take,
            on_surface=self._on_surface,
            on_state=self._on_state,
            on_denial=self._denials.hear,
        )
        end = CoreEnd(terms, loop)
        context = client_context(identity, self._ca_pem, self._gate)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connect(loop, end, context)
                error = await asyncio.shield(end.opened)
        except (TimeoutError, asyncio.CancelledError) as timeout:
            end.cut(_down())
            if isinstance(timeout, asyncio.CancelledError):
                raise
            raise Unavailable("plugin_unavailable", f"{self.address} did not answer in time") from timeout
        except ssl.SSLError as refusal:
            raise _translate(refusal) from refusal
        except OSError as problem:
            raise Unavailable(
                "plugin_unavailable", f"{self.address} cannot be reached: {problem}"
            ) from problem
        if error is not None:
            raise error

    async def _connect(self, loop: asyncio.AbstractEventLoop, end: CoreEnd, context: ssl.SSLContext) -> None:
        if isinstance(self.address, UnixAddress):
            # no server name: the gate judges the SPIFFE id, and a path is no host name
            await loop.create_unix_connection(
                lambda: cast(asyncio.BaseProtocol, end),
                self.address.path,
                ssl=context,
                server_hostname="",
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        else:
            host, port = self.address.host, self.address.port
            await loop.create_connection(
                lambda: cast(asyncio.BaseProtocol, end),
                host,
                port,
                ssl=context,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )

    def _close(self) -> None:
        ends = [*self._draining] if self._current is None else [self._current, *self._draining]
        self._current = None
        for end in ends:
            end.cut(_down())


def _translate(refusal: ssl.SSLError) -> SekishoError:
    if isinstance(refusal.__cause__, Tampered):
        return refusal.__cause__
    return Tampered("peer_untrusted", f"the TLS handshake with the plugin server failed: {refusal.reason}")


def _down() -> Unavailable:
    return Unavailable("plugin_unavailable", "the plugin server is not connected")
