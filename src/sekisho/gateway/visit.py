"""One request being answered: what is known of it so far, and how its answer is written.

Guarantees one answer for each request, as plain JSON, or as an event stream once something went out before it; with the
HTTP status, headers and body that the client's era expects. Decides nothing: what to answer is the door's business, and
how bytes leave is the guest's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from sekisho.errors import LocalProtocolError, PluginError, SekishoError
from sekisho.gateway import answers
from sekisho.gateway.error_answers import headers_of, own_error, plugins_error
from sekisho.gateway.events import (
    LAST_CHUNK,
    LAST_STREAM_HEAD,
    STREAM_HEAD,
    event,
    last_event,
    progress_events,
)
from sekisho.gateway.guest import Copies, Copy, Guest, Withdrawable
from sekisho.gateway.questions import question_id
from sekisho.gateway.remarks import Question
from sekisho.gateway.seats import LocalSeats, Seats
from sekisho.keys import METADATA_HEADERS, PREFLIGHT_HEADERS, Challenges, Principal
from sekisho.protocol import (
    PluginName,
    notification_bytes,
    request_bytes,
    response_bytes,
    result_bytes,
)

__all__ = ["Streams", "Visit"]

WORTH_PARTING: Final = 64 << 10  # bytes; joining less costs less than telling the kernel of several places
_encode: Final = msgspec.json.Encoder().encode
_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"


class Streams:
    """How many event streams each client has open, within a bound."""

    def __init__(self, copies: Copies | None = None, seats: Seats | None = None) -> None:
        self.most = 0
        self.copies = copies
        self._open: Seats = LocalSeats() if seats is None else seats

    def take(self, client: str) -> bool:
        """Open one more; False when this client has as many as it may."""
        return self._open.take(client, self.most)

    def give(self, client: str) -> None:
        """One is over."""
        self._open.give(client)


class Visit:
    """Filled in as the request is understood, so that a refusal says all that is known."""

    __slots__ = (
        "call_id",
        "challenges",
        "client",
        "copy",
        "endpoint",
        "guest",
        "held",
        "is_over",
        "is_streaming",
        "keep_alive",
        "keep_session",
        "key",
        "method",
        "modern",
        "now",
        "principal",
        "progress_token",
        "request_id",
        "resumes_in",
        "streams",
        "takes_streams",
        "target",
        "under_way",
    )

    def __init__(
        self,
        call_id: str,
        now: float,
        guest: Guest,
        streams: Streams,
        *,
        keep_alive: bool,
        target: str = "",
        challenges: Challenges | None = None,
    ) -> None:
        self.call_id = call_id
        self.now = now
        self.guest = guest
        self.streams = streams
        self.keep_alive = keep_alive
        self.target = target
        self.challenges = challenges
        self.principal: Principal | None = None
        self.client: str | None = None
        self.endpoint: PluginName | None = None
        self.request_id: int | str | None = None
        self.method = ""
        self.modern = False
        self.key: tuple[str, str, int | str] | None = None
        self.progress_token: int | str | None = None
        self.takes_streams = False
        self.is_streaming = False
        self.held = b""  # the beginning of a stream that leaves with its end
        self.is_over = False
        # What carries the request now: a call that waits for a person is carried by several, one after another.
        self.under_way: Withdrawable | None = None
        # Who keeps the id of a session that is opened, where no header carries it.
        self.keep_session: Callable[[str], None] | None = None
        # The session in which its stream, should it become one, can be resumed.
        self.resumes_in: str | None = None
        self.copy: Copy | None = None

    def inner(self, call_id: str, guest: Guest, streams: Streams, ident: int | str | None) -> Visit:
        """A visit of its own, by the same client at the same place, for a message that came within this one."""
        visit = Visit(call_id, self.now, guest, streams, keep_alive=True)
        visit.principal, visit.client, visit.endpoint = self.principal, self.client, self.endpoint
        visit.request_id = ident
        return visit

    def holds(self, reason: SekishoError) -> bool:
        """True when its client is gone but may come back."""
        return self.copy is not None and self.copy.holds(reason)

    def withdraw(self, reason: SekishoError) -> None:
        """Its client is gone, or no longer wants it."""
        if self.under_way is not None and not self.holds(reason):
            self.under_way.withdraw(reason)

    @property
    def known_client(self) -> str:
        """Who asks; there is nobody before the token was checked."""
        if self.client is None:
            raise LocalProtocolError("internal", "nobody was identified yet")
        return self.client

    # what has no result

    def accept(self) -> None:
        """Answer a message that has no answer of its own."""
        self.guest.answer(response_bytes(202, b"", close=not self.keep_alive))

    def publish(self, document: bytes | None) -> None:
        """Answer with a document for everybody; None for the question whether a browser may ask for it."""
        close = not self.keep_alive
        if document is None:
            self.guest.answer(response_bytes(204, b"", headers=PREFLIGHT_HEADERS, close=close))
        else:
            self.guest.answer(response_bytes(200, document, headers=METADATA_HEADERS, close=close))

    def end_session(self) -> None:
        """Answer a DELETE."""
        self.guest.answer(response_bytes(204, b"", close=not self.keep_alive))

    def open_session(self, ticket: str, result: bytes) -> None:
        """Answer an initialize."""
        if self.keep_session is not None:
            self.keep_session(ticket)
            self.give(result)
            return
        headers = (("Mcp-Session-Id", ticket),)
        body = result_bytes(self._ident, result)
        self.guest.answer(response_bytes(200, body, headers=headers, close=not self.keep_alive))

    # before the answer

    def open_stream(self) -> bool:
        """Begin an event stream, if the client reads one and has not too many."""
        return self._send(b"")

    def note(self, progress: bytes) -> None:
        """Pass on how far the call is, on lines, under the client's own token; dropped for a client that lags behind."""
        if self.progress_token is not None:
            self._send(progress_events(_encode(self.progress_token), progress))

    def note_last(self, progress: bytes) -> None:
        """The same for what was said together with the answer, which follows: a stream that is all here leaves whole."""
        is_begun = self.is_streaming or self.resumes_in is not None
        if is_begun or self.progress_token is None or not self.takes_streams:
            self.note(progress)
        elif not self.is_over and self.streams.take(self.known_client):
            head = STREAM_HEAD if self.keep_alive else LAST_STREAM_HEAD
            self.held = head + progress_events(_encode(self.progress_token), progress)
            self.is_streaming = True

    def notice(self, method: str, params: bytes) -> None:
        """Pass on another notification; dropped likewise."""
        self.tell(method, params)

    def tell(self, method: str, params: bytes) -> bool:
        """The same; False when it was dropped."""
        return self._send(event(notification_bytes(method, params)))

    def notice_of_subscription(self, method: str, params: dict[str, object]) -> bool:
        """Pass on a notification of a subscription, which names the request it belongs to (MCP 2026-07-28)."""
        meta = {_SUBSCRIPTION: self.request_id}
        return self._send(event(notification_bytes(method, _encode({**params, "_meta": meta}))))

    def question(self, plugin: str, question: Question) -> bool:
        """Ask the client; it answers with a message of its own."""
        ident = question_id(plugin, question.kind, question.ask)
        return self._send(event(request_bytes(ident, question.method, question.params)))

    # the answer

    def give(self, result: bytes) -> None:
        """Answer with a result that already says what the era wants."""
        if self.is_streaming:
            self._end(answers.message(self._ident, result))
        elif self.keep_alive and len(result) > WORTH_PARTING:
            self.guest.answer_in_parts(answers.response_parts(self._ident, result))
        elif self.keep_alive:
            self.guest.answer(answers.response(self._ident, result))
        else:
            body = result_bytes(self._ident, result)
            self.guest.answer(response_bytes(200, body, close=True))

    def give_together(self, answers_of_batch: list[bytes]) -> None:
        """Answer with several messages in one array."""
        body = b"[" + b",".join(answers_of_batch) + b"]"
        if self.is_streaming:
            self._end(body)
        else:
            self.guest.answer(response_bytes(200, body, close=not self.keep_alive))

    def give_call(self, result: bytes | memoryview, *, has_meta: bool) -> None:
        """Answer with the result of a tool, which has a `_meta` at its end or none."""
        modern, call_id = self.modern, self.call_id
        if self.is_streaming or not self.keep_alive:
            text = result if isinstance(result, bytes) else bytes(result)
            self.give(answers.call_result(text, call_id, has_meta=has_meta, modern=modern))
        elif not isinstance(result, bytes) or len(result) > WORTH_PARTING:
            self.guest.answer_in_parts(
                answers.call_response_parts(self._ident, result, call_id, has_meta=has_meta, modern=modern)
            )
        else:
            self.guest.answer(
                answers.call_response(self._ident, result, call_id, has_meta=has_meta, modern=modern)
            )

    def give_method(self, result: bytes, *, has_meta: bool) -> None:
        """Answer with the result of another method, likewise."""
        modern, call_id = self.modern, self.call_id
        self.give(answers.method_result(self.method, result, call_id, has_meta=has_meta, modern=modern))

    def refuse(self, error: SekishoError) -> None:
        """Answer with an error."""
        ident, modern = self.request_id, self.modern
        if isinstance(error, PluginError):
            body, status = plugins_error(error, ident, self.call_id, self.method, modern=modern)
        else:
            body, status = own_error(error, ident, self.call_id, modern=modern)
        if self.is_streaming:
            self._end(body)
            return
        headers = headers_of(error, status)
        if self.challenges is not None:
            headers += self.challenges.headers(error, self.target, self.now)
        self.guest.answer(response_bytes(status, body, headers=headers, close=not self.keep_alive))

    def hang_up(self) -> None:
        """End a stream of notifications; in the newer era that is an answer (MCP 2026-07-28, subscriptions)."""
        if not self.is_streaming:
            return
        if self.modern:
            end = {"resultType": "complete", "_meta": {_SUBSCRIPTION: self.request_id}}
            self._end(result_bytes(self._ident, _encode(end)))
        else:
            self._close_stream(LAST_CHUNK)

    def _send(self, data: bytes) -> bool:
        if self.is_over or not self.takes_streams:
            return False
        if self.is_streaming:
            return self.guest.begin(data) if not self.held else self._send_held(data)
        if not self.streams.take(self.known_client):
            return False
        if not self._open(STREAM_HEAD if self.keep_alive else LAST_STREAM_HEAD, data):
            self.streams.give(self.known_client)
            return False
        self.is_streaming = True
        return True

    def _send_held(self, data: bytes) -> bool:
        if not self.guest.begin(self.held + data):
            return False  # what is held has the head of the answer, and leaves with its end at the latest
        self.held = b""
        return True

    def _open(self, head: bytes, data: bytes) -> bool:
        if self.resumes_in is None or self.streams.copies is None:
            return self.guest.begin(head + data)
        copy = self.streams.copies.start(
            self.guest, self.known_client, self.resumes_in, self, is_call=self.request_id is not None
        )
        if not copy.open(head, data):
            return False
        self.guest = self.copy = copy
        return True

    def _end(self, message: bytes) -> None:
        self._close_stream(last_event(message))

    def _close_stream(self, data: bytes) -> None:
        if not self.is_over:
            self.is_over = True
            self.streams.give(self.known_client)
            self.guest.answer(data if not self.held else self.held + data)

    @property
    def _ident(self) -> int | str:
        if self.request_id is None:
            raise LocalProtocolError("internal", "a result needs the id of its request")
        return self.request_id
