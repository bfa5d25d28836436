"""The core's end of one channel: opens it, carries calls, fails every open call when it ends.

- Nothing is sent before the plugin server proved that it holds its pinned HPKE key (its first sealed frame).
- The peer's certificate is looked at again twice a second and at every call: revoked or expired means cut.
- The channel token is renewed in front of the first call that needs it, in band, so order makes it safe.
- A call has exactly one answer: result, failure, or the reason the channel ended. Notes come before it, those of one
  frame together.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from sekisho.errors import (
    LocalProtocolError,
    PluginError,
    RemoteProtocolError,
    SekishoError,
    Tampered,
    Unavailable,
)
from sekisho.keys import HandshakeGate, Identity, PeerFacts, SealPair, offer, peer_facts, sign_channel_token
from sekisho.wire.calls import CallFrame, encode_call
from sekisho.wire.frames import Kind, Opened, Payload, length_prefix, whole
from sekisho.wire.messages import (
    AnswerFrame,
    AskFrame,
    DenialFrame,
    EventFrame,
    FailureFrame,
    StateFrame,
    SurfaceFrame,
    decode_payload,
    encode_payload,
)
from sekisho.wire.messages import error_of as error_of_failure
from sekisho.wire.notes import MAX_NOTE_BYTES, NOTE_SEPARATOR
from sekisho.wire.pipe import SealedPipe
from sekisho.wire.upgrade import OPENING_READ_BYTES, epoch_info, hung_up, read_answer, request_bytes

__all__ = ["CoreEnd", "CoreTerms", "Done", "Hear", "Note"]

Done = Callable[[Payload | SekishoError], None]
Note = Callable[[bytes], None]
Hear = Callable[["EventFrame | AskFrame"], None]

TICK_S: Final = 0.5  # a revoked peer is cut within one second
PING_S: Final = 5.0
SILENCE_S: Final = 15.0  # a peer that is gone without a word is noticed after this
TOKEN_RENEW_S: Final = 20.0  # before a token's end, so that clocks a few seconds apart never see it expire
TOKEN_LIFE_S: Final = 60
ANSWER_GRACE_S: Final = 5.0  # the plugin server ends a call itself; this is the bound when it does not
LASTING_S: Final = 3600.0  # a call with so much time left waits for news, not for a result
ASK_S: Final = 660.0  # after a question; the plugin server ends such a call after ten minutes
MAX_IN_FLIGHT: Final = 1 << 16  # a plugin that never answers must not fill our memory
_RESULT: Final = int(Kind.RESULT)
_NOTE: Final = int(Kind.NOTE)
_CALL: Final = int(Kind.CALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreTerms:
    """What one channel needs to know."""

    identity: Identity
    gate: HandshakeGate
    peer_hpke_public: bytes
    ops: frozenset[str]
    clock: Callable[[], float]
    on_open: Callable[[CoreEnd], None]
    on_surface: Callable[[SurfaceFrame], None]
    on_state: Callable[[StateFrame], None]
    on_denial: Callable[[DenialFrame, Callable[[], None]], None]


class CoreEnd:
    """One connection to a plugin server."""

    def __init__(self, terms: CoreTerms, loop: asyncio.AbstractEventLoop) -> None:
        self._terms = terms
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pipe: SealedPipe | None = None
        self._facts: PeerFacts | None = None
        self._head = b""
        self._opening = bytearray()  # where an opening is read; a connection that says nothing takes none
        self._tick: asyncio.TimerHandle | None = None
        self._pending: dict[int, tuple[Done, float, Note | None, Hear | None]] = {}
        self._token_renew_at = 0.0
        self._clock = terms.clock
        self._revoked = terms.gate.revoked
        self._trusted_in_epoch = -1  # of revocations; and until when a call needs no second look at anything:
        self._sure_until = 0.0
        self._pinged_at = 0.0
        self._draining = False
        self.opened: asyncio.Future[SekishoError | None] = loop.create_future()
        self.lost: asyncio.Future[SekishoError] = loop.create_future()
        self.unknown_answers = 0
        self.unwanted_notes = 0

    # for the line

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    @property
    def is_open(self) -> bool:
        return self._pipe is not None and self.opened.done() and not self.lost.done()

    @property
    def records(self) -> int:
        return 0 if self._pipe is None else self._pipe.seals.records

    @property
    def not_after(self) -> float:
        """When this channel must have been replaced: the end of the first of both certificates."""
        own = self._terms.identity.not_after
        return own if self._facts is None else min(own, self._facts.not_after)

    def call(
        self, number: int, frame: CallFrame, done: Done, note: Note | None = None, hear: Hear | None = None
    ) -> None:
        """Send a call; `done` gets its one answer, later."""
        pipe, now = self._pipe, self._clock()
        if now >= self._sure_until or self._revoked.epoch != self._trusted_in_epoch:
            self._look_again(now)
        if pipe is None or self.lost.done():
            self._loop.call_soon(done, _gone())
            return
        if pipe.is_full:
            self._loop.call_soon(done, Unavailable("busy", "the plugin server reads too slowly"))
            return
        if len(self._pending) >= MAX_IN_FLIGHT:
            self._loop.call_soon(done, Unavailable("busy", "too many calls wait for the plugin"))
            return
        try:
            pipe.send(_CALL, number, encode_call(frame))
        except LocalProtocolError as error:  # larger than any frame may be
            self._loop.call_soon(done, error)
            return
        self._pending[number] = (done, self._loop.time() + frame.timeout_s + ANSWER_GRACE_S, note, hear)

    def expect(self) -> None:
        """A call will probably come once what is due in the loop has been done: let it leave right then."""
        if self._pipe is not None:
            self._pipe.expect()

    def answer(self, frame: AnswerFrame) -> None:
        """Pass on what a client answered to a plugin's question; it may be lost, and then the call ends in time."""
        if self._pipe is not None and not self.lost.done() and not self._pipe.is_full:
            self._pipe.send(Kind.ANSWER, 0, encode_payload(frame))

    def cancel(self, number: int) -> bool:
        """Withdraw a call; False when it is not ours (any more). Its answer is `cancelled`."""
        entry = self._pending.pop(number, None)
        if entry is None:
            return False
        if self._pipe is not None:
            self._pipe.send(Kind.CANCEL, number)
        self._loop.call_soon(entry[0], Unavailable("cancelled", "the caller withdrew the request"))
        self._close_if_drained()
        return True

    def drain(self) -> None:
        """Take no new calls; close when the last open one is answered. Nobody waits for those that only listen."""
        self._draining = True
        lasting = self._loop.time() + LASTING_S
        for number in [number for number, entry in self._pending.items() if entry[1] > lasting]:
            done = self._pending.pop(number)[0]
            if self._pipe is not None:
                self._pipe.send(Kind.CANCEL, number)
            self._loop.call_soon(done, Unavailable("plugin_unavailable", "the channel is being replaced"))
        self._close_if_drained()

    def cut(self, error: SekishoError) -> None:
        """End the channel now."""
        if self._transport is not None:
            self._transport.abort()
        self._end(error)

    # for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's stream transports keep asyncio's promises without inheriting its class
        self._transport = cast(asyncio.Transport, transport)
        self._facts = peer_facts(transport.get_extra_info("ssl_object"))
        self._transport.write(request_bytes(self._token(self._terms.clock())))
        self._tick = self._loop.call_later(TICK_S, self._on_tick)

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        if self._pipe is not None:
            return self._pipe.get_buffer(sizehint)
        if not self._opening:
            self._opening = bytearray(OPENING_READ_BYTES)
        return self._opening

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self._pipe is not None:
                self._take(self._pipe.receive(nbytes))
            else:
                self._on_answer(bytes(self._opening[:nbytes]))
        except SekishoError as error:
            self.cut(error)

    def data_received(self, data: bytes) -> None:
        """For asyncio's own loop, which knows a protocol with a buffer by its base class only."""
        at = 0
        while at < len(data):
            buffer = memoryview(self.get_buffer(len(data) - at))
            piece = data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            at += len(piece)
            self.buffer_updated(len(piece))

    def eof_received(self) -> None:
        """The other end says no more: the loop closes the connection."""

    def pause_writing(self) -> None:
        """How much may wait for a plugin server is bounded call by call: see `SealedPipe.is_full`."""

    def resume_writing(self) -> None:
        """It reads again."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pipe is None and not self._head:
            self._end(hung_up())
        elif isinstance(exc, ssl.SSLError):
            self._end(hung_up() if self._pipe is None else _gone())
        else:
            self._end(_gone())

    # opening

    def _on_answer(self, data: bytes) -> None:
        self._head += data
        answer = read_answer(self._head)
        if answer is None:
            return
        nonce, rest = answer
        facts, transport, identity = self._facts, self._transport, self._terms.identity
        if facts is None or transport is None:
            raise _gone()
        info = epoch_info(core=identity.spiffe, plugin=facts.spiffe, nonce=nonce, core_x5t=identity.x5t_s256)
        enc, secret = offer(self._terms.peer_hpke_public, info)
        transport.write(length_prefix(enc) + enc)
        self._pipe = SealedPipe(transport, SealPair(secret=secret, salt=nonce, role="core"), self._loop)
        self._take(self._pipe.feed(rest))

    def _token(self, now: float) -> str:
        if self._facts is None:
            raise _gone()
        self._token_renew_at = now + TOKEN_LIFE_S - TOKEN_RENEW_S
        identity = self._terms.identity
        jti = secrets.token_urlsafe(16)
        return sign_channel_token(
            identity, self._facts.spiffe, self._terms.ops, cert_x5t=identity.x5t_s256, now=now, jti=jti
        )

    # frames

    def _take(self, frames: Iterable[Opened]) -> None:
        pending = self._pending
        for kind, number, payload in frames:
            if kind == _RESULT:
                entry = pending.pop(number, None)
                if entry is not None:
                    entry[0](payload)
                else:
                    self.unknown_answers += 1  # answered after it was cancelled or timed out
            elif kind == _NOTE:
                self._on_note(number, whole(payload))
            else:
                self._on_frame(kind, number, whole(payload))
            if self.lost.done():  # somebody who was answered has cut us
                return
        if self._draining:
            self._close_if_drained()

    def _on_note(self, number: int, payload: bytes) -> None:
        entry = self._pending.get(number)
        note = None if entry is None else entry[2]
        if len(payload) > MAX_NOTE_BYTES:
            self.unwanted_notes += 1
        elif note is None:
            self.unwanted_notes += payload.count(NOTE_SEPARATOR) + 1
        else:
            note(payload)

    def _on_event(self, kind: int, number: int, payload: bytes) -> None:
        entry = self._pending.get(number)
        if entry is None or entry[3] is None:
            self.unwanted_notes += 1
        elif kind == Kind.EVENT:
            entry[3](decode_payload(payload, EventFrame))
        else:
            ask = decode_payload(payload, AskFrame)
            # a person may have to be found and to think; the plugin's side bounds the whole call
            deadline = max(entry[1], self._loop.time() + ASK_S)
            self._pending[number] = (entry[0], deadline, entry[2], entry[3])
            entry[3](ask)

    def _on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == Kind.FAILURE:
            self._fail(number, error_of_failure(decode_payload(payload, FailureFrame)))
        elif kind == Kind.ERROR:
            self._fail(number, PluginError(payload))
        elif kind in (Kind.EVENT, Kind.ASK):
            self._on_event(kind, number, payload)
        elif kind == Kind.HELLO:
            if not self.opened.done():
                self.opened.set_result(None)
                # at once: who hears of a state behind this hello may call right away
                self._terms.on_open(self)
        elif not self.opened.done():
            raise RemoteProtocolError("plugin_protocol", "the plugin server did not say hello first")
        elif kind == Kind.SURFACE:
            self._terms.on_surface(decode_payload(payload, SurfaceFrame))
        elif kind == Kind.STATE:
            self._terms.on_state(decode_payload(payload, StateFrame))
        elif kind == Kind.DENIAL:
            self._terms.on_denial(decode_payload(payload, DenialFrame), partial(self._say_recorded, number))

    def _say_recorded(self, number: int) -> None:
        if self._pipe is not None and not self.lost.done():
            self._pipe.send(Kind.RECORDED, number)

    def _fail(self, number: int, error: SekishoError) -> None:
        entry = self._pending.pop(number, None)
        if entry is None:
            self.unknown_answers += 1
        else:
            entry[0](error)

    # the end

    def _look_again(self, now: float) -> None:
        """Before a call: the peer may have been revoked or its certificate ended, or a token is due."""
        if self._pipe is None or self._facts is None or not self._still_trusted():
            return
        if now >= self._token_renew_at:
            self._pipe.send(Kind.TOKEN, 0, self._token(now).encode())
        self._sure_until = min(self._token_renew_at, self._facts.not_after)

    def _still_trusted(self) -> bool:
        if self._facts is None or self.lost.done():
            return False
        epoch = self._revoked.epoch
        try:
            self._terms.gate.recheck(self._facts)
        except Tampered as error:
            self.cut(error)
            return False
        self._trusted_in_epoch = epoch
        return True

    def _on_tick(self) -> None:
        self._tick = self._loop.call_later(TICK_S, self._on_tick)
        if not self._still_trusted():
            return
        now, pipe = self._loop.time(), self._pipe
        if pipe is not None:
            if now - pipe.heard_at > SILENCE_S:
                self.cut(_gone())
                return
            if now - self._pinged_at > PING_S:
                self._pinged_at = now
                pipe.send(Kind.PING)
            pipe.trim()
        for number in [number for number, entry in self._pending.items() if now > entry[1]]:
            done = self._pending.pop(number)[0]
            if pipe is not None:
                pipe.send(Kind.CANCEL, number)
            done(Unavailable("plugin_timeout", "the plugin server did not answer in time"))
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._draining and not self._pending and self._transport is not None and not self.lost.done():
            if self._pipe is not None:
                self._pipe.flush()
            self._transport.close()

    def _end(self, error: SekishoError) -> None:
        if self.lost.done():
            return
        self.lost.set_result(error)
        if not self.opened.done():
            self.opened.set_result(error)
        if self._tick is not None:
            self._tick.cancel()
        if self._pipe is not None:
            self._pipe.stop()
        pending, self._pending = self._pending, {}
        for entry in pending.values():
            entry[0](_gone())


def _gone() -> Unavailable:
    return Unavailable("plugin_unavailable", "the connection to the plugin server ended")
