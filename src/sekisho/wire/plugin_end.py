"""The plugin server's end of one channel: admits a core, checks every call, answers.

- Before the 101 the core's certificate passed the gate and its token was verified.
- Every call is checked again (`admission`). A call that fails a check is answered with a failure and never reaches the
  plugin.
- When the channel ends, every call in work is cancelled.
- Notes never hold an answer up (`remarks`).
- A large answer is refused while too much is queued that the core has not read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Final, Literal, cast

from sekisho.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    SekishoError,
    Tampered,
    Unavailable,
)
from sekisho.keys import (
    SealPair,
    accept,
    peer_facts,
)
from sekisho.wire.admission import Admission
from sekisho.wire.calls import decode_call
from sekisho.wire.frames import INLINE_BYTES, FrameReader, Kind, Opened, Payload, whole
from sekisho.wire.inbound import Inbound
from sekisho.wire.messages import AnswerFrame, FailureFrame, decode_payload, encode_payload
from sekisho.wire.pipe import SealedPipe
from sekisho.wire.remarks import Remarks
from sekisho.wire.terms import PluginTerms
from sekisho.wire.upgrade import (
    NONCE_BYTES,
    OPENING_READ_BYTES,
    epoch_info,
    read_request,
    refusal_bytes,
    welcome_bytes,
)

__all__ = ["PluginEnd"]

TICK_S: Final = 0.5  # a revoked core is cut within one second
OPENING_S: Final = 5.0  # a peer that opens and says nothing does not hold a place for longer
SILENCE_S: Final = 20.0  # the core pings every five seconds
MAX_OFFER_BYTES: Final = 4096  # an HPKE offer has 80 bytes, a hybrid one about 1200
MAX_CALLS_IN_WORK: Final = 1 << 16
MAX_UNREAD_BYTES: Final = (
    256 << 20
)  # of answers: a plugin that answers hugely must not fill our memory either
_UNREAD: Final = "the plugin carried the call out, but the gateway has not read the answers before this one"
_CALL: Final = int(Kind.CALL)
_NOTE: Final = Kind.NOTE
_EVENT: Final = Kind.EVENT
_ASK: Final = Kind.ASK


class PluginEnd:
    """One connection from a core."""

    def __init__(self, terms: PluginTerms, loop: asyncio.AbstractEventLoop) -> None:
        self._terms = terms
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._admission: Admission | None = None
        self._pipe: SealedPipe | None = None
        self._stage: Literal["request", "offer", "open", "ended"] = "request"
        self._head = b""
        self._opening = bytearray()  # where an opening is read; a connection that says nothing takes none
        self._nonce = b""
        self._offers = FrameReader(limit=MAX_OFFER_BYTES)
        self._opened_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[int, Inbound] = {}
        self._remarks = Remarks()

    # for the listener

    @property
    def dropped_notes(self) -> int:
        """Notes that did not leave because the core reads slowly, or because they are too large."""
        return self._remarks.dropped

    def send(self, kind: Kind, payload: bytes, number: int = 0) -> None:
        """Send a frame that belongs to no call."""
        if self._pipe is not None and self._stage == "open":
            self._pipe.send(kind, number, payload)

    def answer(self, call: int, kind: Kind, payload: Payload) -> None:
        """Send the answer of a call, or what comes before it; an answer too large for a frame becomes a failure."""
        pipe = self._pipe
        if pipe is None or self._stage != "open":
            self._calls.pop(call, None)
        elif kind is _NOTE:
            self._remarks.note(pipe, call, whole(payload))
        elif kind is _EVENT:
            self._remarks.event(pipe, call, whole(payload))
        else:
            if len(payload) > INLINE_BYTES and pipe.unread_bytes > MAX_UNREAD_BYTES:
                self._calls.pop(call, None)
                self._fail(call, Unavailable("busy", _UNREAD))
                return
            if kind is not _ASK:  # a question is never dropped: the call waits for it
                self._calls.pop(call, None)
            try:
                pipe.send(kind, call, payload)
            except LocalProtocolError as error:
                self._calls.pop(call, None)
                self._fail(call, error)

    def cut(self) -> None:
        """End the channel now."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def close(self) -> None:
        """End the channel after what is queued has been written."""
        if self._pipe is not None:
            self._pipe.flush()
        if self._transport is not None:
            self._transport.close()

    # for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's stream transports keep asyncio's promises without inheriting its class
        self._transport = cast(asyncio.Transport, transport)
        self._admission = Admission(self._terms, peer_facts(transport.get_extra_info("ssl_object")))
        self._timer = self._loop.call_later(TICK_S, self._on_tick)
        self._terms.on_joined(self)

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
            elif self._stage == "request":
                self._on_request(bytes(self._opening[:nbytes]))
            elif self._stage == "offer":
                self._on_offer(bytes(self._opening[:nbytes]))
        except SekishoError as error:
            self._refuse(error)

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        self._remarks.hold_back()
        if self._transport is not None and self._stage == "open":
            self._transport.pause_reading()  # a core that does not read answers sends no more calls

    def resume_writing(self) -> None:
        self._remarks.go_on()
        if self._transport is not None and self._pipe is not None and self._stage == "open":
            self._remarks.release(self._pipe, self._calls)
            self._transport.resume_reading()

    # opening

    def _on_request(self, data: bytes) -> None:
        self._head += data
        token = read_request(self._head)
        if token is None or self._transport is None:
            return
        self._admitted().take_token(token)
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._stage = "offer"
        self._transport.write(welcome_bytes(self._nonce))

    def _on_offer(self, data: bytes) -> None:
        offers = [bytes(offer) for offer in self._offers.feed(data)]
        if not offers or self._transport is None:
            return
        # the core says nothing sealed before our hello, so there is exactly one record here
        if len(offers) > 1:
            raise RemoteProtocolError("plugin_protocol", "the core sent more than its offer")
        identity, facts = self._terms.identity, self._admitted().facts
        info = epoch_info(
            core=facts.spiffe, plugin=identity.spiffe, nonce=self._nonce, core_x5t=facts.x5t_s256
        )
        secret = accept(identity.hpke_private, offers[0], info)
        seals = SealPair(secret=secret, salt=self._nonce, role="plugin")
        self._pipe = SealedPipe(self._transport, seals, self._loop)
        self._stage = "open"
        self._pipe.send(Kind.HELLO)
        self._terms.on_joined(self)

    @property
    def is_open(self) -> bool:
        return self._stage == "open"

    def _admitted(self) -> Admission:
        if self._admission is None:
            raise Tampered("peer_untrusted", "the connection did not pass the gate")
        return self._admission

    # frames

    def _take(self, frames: Iterable[Opened]) -> None:
        now = self._terms.clock()  # what arrives together arrives at one instant
        for kind, number, given in frames:
            payload = whole(given)
            if self._stage != "open":  # cut, while there was still something to read
                return
            if kind == _CALL:
                self._on_call(number, payload, now)
            elif kind == Kind.CANCEL:
                self._cancel(self._calls.pop(number, None))
            elif kind == Kind.TOKEN:
                self._admitted().take_token(payload.decode("ascii", "replace"))
            elif kind == Kind.ANSWER:
                self._terms.on_answer(decode_payload(payload, AnswerFrame))
            elif kind == Kind.RECORDED:
                self._terms.on_recorded(number)
            elif kind == Kind.PING and self._pipe is not None:
                self._pipe.send(Kind.PONG)

    def _on_call(self, number: int, payload: bytes, now: float) -> None:
        admission = self._admitted()
        if number in self._calls:
            raise RemoteProtocolError("plugin_protocol", "the core used a call number twice")
        frame = decode_call(payload)
        if not admission.is_admitted(frame.tool, now) or len(self._calls) >= MAX_CALLS_IN_WORK:
            refusal = admission.refusal(frame.tool, now)
            self._terms.on_refused(refusal)
            self._fail(number, refusal)
            return
        inbound = Inbound(number, frame, self.answer)
        self._calls[number] = inbound
        self._terms.on_call(inbound)

    def _fail(self, number: int, error: SekishoError) -> None:
        if self._pipe is not None:
            failure = FailureFrame(code=error.code, message=error.message)
            self._pipe.send(Kind.FAILURE, number, encode_payload(failure))

    def _cancel(self, inbound: Inbound | None) -> None:
        if inbound is not None and inbound.is_open:
            inbound.close()
            self._terms.on_cancel(inbound)

    # the end

    def _refuse(self, error: SekishoError) -> None:
        self._terms.on_refused(error)
        if self._stage == "request" and self._transport is not None:
            self._transport.write(refusal_bytes(error))
            self.close()
            self._end()
        else:
            self.cut()

    def _on_tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._on_tick)
        now = self._loop.time()
        if self._pipe is None:
            if now - self._opened_at > OPENING_S:
                self.cut()
        elif now - self._pipe.heard_at > SILENCE_S:
            self.cut()
        elif self._admission is not None:
            self._pipe.trim()
            try:
                self._admission.recheck()
            except Tampered as error:
                self._refuse(error)

    def _end(self) -> None:
        if self._stage == "ended":
            return
        self._stage = "ended"
        if self._timer is not None:
            self._timer.cancel()
        if self._pipe is not None:
            self._pipe.stop()
        calls, self._calls = self._calls, {}
        for inbound in calls.values():
            self._cancel(inbound)
        self._terms.on_left(self)
