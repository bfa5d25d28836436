"""The reply to one request over Streamable HTTP, from its status to the last of its messages.

Guarantees
- every message is handed on with the request on whose stream it came, while it comes, and none after a withdrawal;
- a request ends in an answer or in one failure: whatever the server does, nobody waits for a reply that is over;
- a redirect, a coded body or another media type than MCP's is refused before its body is read;
- a stream that broke off where it can be resumed is resumed (its owner does that), any other request is over.

Judges one reply; what a refusal or a broken stream leads to is the owner's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.http_pool import Connection, redirected
from sekisho.plugin_server.transport import Hearer
from sekisho.protocol import Pieces, ResponseHead, SseReader

__all__ = ["Owner", "RemoteReply"]

MAX_PAUSE_S: Final = 30.0
FIRST_PAUSE_S: Final = 1.0
MIN_PAUSE_S: Final = 0.1  # a server that says "retry: 0" must not make us knock without a pause


class Owner(Protocol):
    """Who sent the request."""

    @property
    def max_event_bytes(self) -> int:
        """How large one event may be."""

    def ended(self, reply: RemoteReply) -> None:
        """The reply is over; it is not said twice."""

    def has_answered(self, reply: RemoteReply) -> None:
        """The answer came, and its stream is still open."""

    def turned_away(self, reply: RemoteReply, head: ResponseHead, body: bytes) -> None:
        """The status says no; the request is not over."""

    def broke_off(self, reply: RemoteReply) -> None:
        """The stream ended where it can be resumed; the request is not over."""

    def gave_session(self, session: str) -> None:
        """The server named a session."""


class RemoteReply:
    """Reads the reply to one POST, GET or DELETE. `wanted` is the id of the request, None if there is none."""

    # What differs for few requests only stands here once, not in every one.
    connection: Connection | None = None
    method: Literal["POST", "GET", "DELETE"] = "POST"
    is_over = False
    renewals = 0  # how often it was sent again with other credentials
    is_reopened = False  # it was sent again in a new session
    fruitless = 0  # resumptions since the last event
    last_event_id = ""
    retry_ms: int | None = None
    on_end: Callable[[], None] | None = None
    _head: ResponseHead | None = None
    _body: Pieces | None = None
    _is_stream = False
    _events: SseReader | None = None  # of a stream, once some of it came that must be read

    def __init__(self, owner: Owner, hearer: Hearer, message: bytes, wanted: int | str | None) -> None:
        self._owner = owner
        self._hearer = hearer
        self.message = message
        self.wanted = wanted

    @property
    def _of(self) -> int | None:
        return self.wanted if type(self.wanted) is int else None

    @property
    def pause_s(self) -> float:
        """How long to wait before the stream is resumed."""
        stated = FIRST_PAUSE_S if self.retry_ms is None else self.retry_ms / 1000
        return min(max(stated, MIN_PAUSE_S) * 2.0 ** min(self.fruitless, 9), MAX_PAUSE_S)

    def begin(self, connection: Connection, head: bytes) -> None:
        """Send the request on this connection."""
        if self.is_over:
            return
        self.connection = connection
        if self._head is not None:  # it is sent once more
            self._head, self._body, self._events, self._is_stream = None, None, None, False
        connection.start(head + self.message if self.method == "POST" else head, self)

    def withdraw(self) -> None:
        """Nobody wants to hear of it any more."""
        self.is_over = True
        if self.connection is not None:
            self.connection.abort()

    def fail(self, error: SekishoError) -> None:
        """End it without an answer."""
        if self.is_over:
            return
        self._end()
        if self.wanted is not None:
            self._hearer.fail_one(self.wanted, error)

    def give_up(self, why: str) -> None:
        """End it without an answer, and its connection with it."""
        connection = self.connection
        self.fail(Unavailable("plugin_exited", why))
        if connection is not None:
            connection.abort()

    def answer(self, message: bytes) -> None:
        """End it with this answer."""
        if not self.is_over:
            self._hearer.receive(message, self._of)
            self._end_answered()

    def take_whole(self, body: bytes) -> None:
        """The usual answer, in one piece."""
        self.connection = None
        if self.is_over:
            return
        hearer, wanted = self._hearer, self.wanted
        hearer.receive(body, wanted if type(wanted) is int else None)
        self.is_over = True
        self._owner.ended(self)
        if self.on_end is not None:
            self.on_end()
        if wanted is not None and hearer.is_waiting(wanted):
            hearer.fail_one(wanted, _no_answer())

    def take_head(self, head: ResponseHead) -> None:
        """Judge the status and the media type."""
        self._head = head
        session = head.headers.get("mcp-session-id")
        if session is not None and self.method == "POST" and head.status < 300:
            self._owner.gave_session(session)
        if 300 <= head.status < 400:
            raise redirected()
        if head.headers.get("content-encoding", "identity").lower() != "identity":
            raise RemoteProtocolError(
                "plugin_protocol", "the MCP server sends a coded body, which nobody asked for"
            )
        if head.status == 200 and head.is_event_stream:
            self._is_stream, self._events = True, None
            return
        wants_body = self.method == "GET" or (self.method == "POST" and self.wanted is not None)
        has_body = head.status not in (202, 204)
        if head.status < 300 and wants_body and has_body and (self.method == "GET" or not head.is_json):
            raise RemoteProtocolError(
                "plugin_protocol", "the MCP server answers with neither JSON nor an event stream"
            )

    def take_body(self, data: bytes | memoryview) -> int:
        """Hand events on as they come; how much is held of what is not complete."""
        if not isinstance(data, bytes):
            self._take_large(data)
            return 0
        if self.is_over:
            return 0
        if not self._is_stream:
            if self._body is None:
                self._body = Pieces()
            self._body.add(data)
            return self._body.size
        events = self._events
        if events is None:
            events = SseReader(self._owner.max_event_bytes, last_event_id=self.last_event_id)
            self._events = events
        messages = events.feed(data)
        if events.last_event_id != self.last_event_id or messages:
            self.fruitless = 0
        self.last_event_id, self.retry_ms = events.last_event_id, events.retry_ms
        if messages:
            self._hearer.receive_all(messages, self._of)
            if self.wanted is not None and not self._hearer.is_waiting(self.wanted):
                self._owner.has_answered(self)
        return events.held_bytes

    def _take_large(self, body: memoryview) -> None:
        """The whole of a large answer, as it lies; its end comes next."""
        self.connection = None  # it may carry another request already
        if not self.is_over and self.wanted is not None and not self._hearer.receive_large(body, len(body)):
            self.take_body(bytes(body))

    def take_messages(self, messages: Sequence[bytes]) -> None:
        """The same for a whole stream; it names no event and no pause, and its end comes next."""
        if self.is_over:
            return
        self.fruitless = 0
        self.retry_ms = None
        self._hearer.receive_all(messages, self._of)

    def take_end(self) -> None:
        """The reply is complete."""
        head, self.connection = self._head, None
        if self.is_over or head is None:
            return
        body = b"" if self._body is None else self._body.take()
        if head.status >= 400:
            self._owner.turned_away(self, head, body)
        elif self._is_stream and self._can_resume:
            self._break_off()
        else:
            if body and head.is_json and self.wanted is not None:
                self._hearer.receive(body, self._of)
            self._end_answered()

    def take_loss(self, error: SekishoError) -> None:
        """The connection is gone, or the reply could not be read."""
        self.connection = None
        if self.is_over:
            return
        if self._is_stream and isinstance(error, Unavailable) and self._can_resume:
            self._break_off()
        else:
            self.fail(error)

    def _break_off(self) -> None:
        self._events = None  # half an event comes again, whole
        self._owner.broke_off(self)

    @property
    def _can_resume(self) -> bool:
        """True for our listening stream, and for one with an event id whose answer has not come."""
        if self.wanted is None:
            return self.method == "GET"
        return bool(self.last_event_id) and self._hearer.is_waiting(self.wanted)

    def _end(self) -> None:
        self.is_over = True
        self._owner.ended(self)
        if self.on_end is not None:
            self.on_end()

    def _end_answered(self) -> None:
        self._end()
        if self.wanted is not None and self._hearer.is_waiting(self.wanted):
            self._hearer.fail_one(self.wanted, _no_answer())


def _no_answer() -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", "the MCP server sent a response without an answer")
