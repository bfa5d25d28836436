"""The oldest transport of MCP (2024-11-05): one event stream, and posts beside it. Off unless the operator wants it.

Guarantees
- a stream is known by an id that nobody can guess, and takes posts only of the client that opened it, for its endpoint;
- what is posted goes the same road as everywhere: only the way back is another, all of it is an event of the stream; a
  batch (`batches`) is answered by one event;
- the stream is the session: it ends with its connection, with the client's token, or when nobody initializes, and then
  every call of it is withdrawn;
- a client that does not read loses news, then its stream, and holds a bounded amount of memory meanwhile.

Streams and posts must meet in one process, so this front exists with one worker only. Knows no socket and serves no
method.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import Final

from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.gateway.batches import read_batch, start_batch
from sekisho.gateway.events import LAST_CHUNK, endpoint_event
from sekisho.gateway.guest import Withdrawable
from sekisho.gateway.passage import Serves, Stead, serve_request, take_word
from sekisho.gateway.reception import Pass
from sekisho.gateway.sessions import Session, Sessions
from sekisho.gateway.subscriptions import Listener, Subscriptions
from sekisho.gateway.visit import Streams, Visit
from sekisho.protocol import (
    ClientNotification,
    ClientRequest,
    HttpRequest,
    PluginName,
    parse_client_message,
)

__all__ = ["OldStream", "OldStreams", "serve_old"]

MAX_CALLS: Final = 256  # of one stream at one time
MAX_UNREAD_BYTES: Final = (
    16 << 20
)  # answers that wait for a client which does not keep up; of all streams four times that
_HOW: Final = "GET opens a stream here, for a client that accepts text/event-stream; POST where it says"
INITIALIZE_S: Final = 60.0  # a stream that nobody initializes is not kept


class OldStreams:
    """All open streams of this process."""

    def __init__(self, sessions: Sessions, subscriptions: Subscriptions) -> None:
        self.sessions = sessions
        self.subscriptions = subscriptions
        self.unread_bytes = 0
        self._open: dict[str, OldStream] = {}

    def open(self, visit: Visit) -> OldStream:
        """Serve a GET: open a stream and tell the client where it posts."""
        if not visit.open_stream():
            raise Unavailable("busy", "this client has as many streams as it may have")
        ident = secrets.token_urlsafe(24)
        stream = self._open[ident] = OldStream(self, ident, visit)
        visit.guest.begin(endpoint_event(_address(visit.endpoint, ident)))
        return stream

    def find(self, ident: str, visit: Visit) -> OldStream:
        """The stream that this post belongs to."""
        stream = self._open.get(ident)
        if stream is None or not stream.is_of(visit.known_client, visit.endpoint):
            raise Refused("session_unknown", "this stream has ended or belongs to someone else")
        return stream

    def forget(self, ident: str) -> None:
        """One has ended."""
        self._open.pop(ident, None)

    def expire(self, now: float) -> None:
        """End what has no client any more, and send what could not leave; to be called every second or so."""
        for stream in tuple(self._open.values()):
            stream.look(now)

    def close(self) -> None:
        """End every stream."""
        for stream in tuple(self._open.values()):
            stream.withdraw(Unavailable("cancelled", "the gateway is closing"))


class OldStream:
    """One client's stream; withdrawn when its connection is gone."""

    def __init__(self, streams: OldStreams, ident: str, visit: Visit) -> None:
        self._streams = streams
        self._ident = ident
        self._visit = visit
        self._calls = Streams()
        self._calls.most = MAX_CALLS
        self._replies: dict[_Reply, None] = {}
        self._listener: Listener | None = None
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._ticket: str | None = None

    def is_of(self, client: str, endpoint: PluginName | None) -> bool:
        """Did this client open it, at this endpoint?"""
        return self._visit.known_client == client and self._visit.endpoint == endpoint

    def session(self, now: float) -> Session:
        """The session that was initialized on this stream."""
        if self._ticket is None:
            raise RemoteProtocolError("session_required", "send initialize first")
        visit = self._visit
        return self._streams.sessions.find(self._ticket, visit.known_client, visit.endpoint, now)

    def receive(self, post: Visit, ident: int | str | None) -> Visit:
        """A request was posted, or a batch, which has no id: its own visit, whose answer is an event of this stream."""
        client = post.known_client
        if not self._calls.take(client):
            raise Unavailable("busy", "too many requests of this stream are under way")
        reply = _Reply(self, ident)
        self._replies[reply] = None
        visit = post.inner(post.call_id, reply, self._calls, ident)
        visit.keep_session = self._initialized
        visit.takes_streams = visit.is_streaming = True
        return visit

    def carry(self, visit: Visit, trip: Withdrawable | None) -> None:
        """What its request set in motion."""
        if isinstance(visit.guest, _Reply):
            visit.guest.trip = trip

    def hear(self, message: ClientNotification, now: float) -> None:
        """The client is ready, so that it hears what changes; or it wants an answer no more, and gets none."""
        if message.method == "notifications/cancelled":
            ident = message.params.get("requestId")
            for reply in [one for one in self._replies if one.ident == ident]:
                reply.is_over = True
                del self._replies[reply]
        elif message.method == "notifications/initialized" and self._listener is None:
            self._listener = self._streams.subscriptions.follow(self._visit, self.session(now).caller)

    def look(self, now: float) -> None:
        """Has it an end now?"""
        visit = self._visit
        if visit.is_over or visit.principal is None or visit.principal.expires_at <= now:
            self.withdraw(Refused("token_invalid", "the token has expired"))
        elif self._ticket is None and now - visit.now > INITIALIZE_S:
            self.withdraw(Refused("session_required", "nobody initialized"))
        else:
            self._send_unread()

    def withdraw(self, reason: SekishoError) -> None:
        """The client is gone, or has to go."""
        self._streams.forget(self._ident)
        replies, self._replies = self._replies, {}
        for reply in replies:
            reply.is_over = True
            if reply.trip is not None:
                reply.trip.withdraw(reason)
        if self._listener is not None:
            self._listener.withdraw(reason)
        self._unread.clear()
        self._count(-self._unread_bytes)
        visit = self._visit
        if self._ticket is not None:
            self._streams.sessions.end(self._ticket, visit.now)
            self._ticket = None
        visit.hang_up()

    # for its replies

    def tell(self, data: bytes) -> bool:
        """Send a piece; False when the client does not keep up, and then nothing was sent."""
        self._send_unread()
        return not self._unread and not self._visit.is_over and self._visit.guest.begin(data)

    def answer(self, reply: _Reply, data: bytes) -> None:
        """Send an answer, now or when the client reads again."""
        self._replies.pop(reply, None)
        if self._visit.is_over or self.tell(data):
            return
        self._unread.append(data)
        self._count(len(data))
        if self._unread_bytes > MAX_UNREAD_BYTES or self._streams.unread_bytes > 4 * MAX_UNREAD_BYTES:
            self.withdraw(Unavailable("busy", "the client does not read its stream"))

    def _send_unread(self) -> None:
        while self._unread and self._visit.guest.begin(self._unread[0]):
            self._count(-len(self._unread.popleft()))

    def _count(self, size: int) -> None:
        self._unread_bytes += size
        self._streams.unread_bytes += size

    def _initialized(self, ticket: str) -> None:
        if self._ticket is not None:
            raise RemoteProtocolError("message_invalid", "this stream was initialized before")
        self._ticket = ticket


class _Reply(Stead):
    """What is written to it are events of the stream."""

    def __init__(self, stream: OldStream, ident: int | str | None) -> None:
        self._stream = stream
        self.ident = ident
        self.trip: Withdrawable | None = None
        self.is_over = False

    def begin(self, data: bytes) -> bool:
        """A piece before the answer."""
        return not self.is_over and self._stream.tell(data)

    def answer(self, data: bytes) -> None:
        """The answer ends the request, but not the stream."""
        if not self.is_over:
            self.is_over = True
            self._stream.answer(self, data.removesuffix(LAST_CHUNK))


def serve_old(
    door: Serves, streams: OldStreams, request: HttpRequest, visit: Visit, known: Pass
) -> Withdrawable | None:
    """Serve one request of this transport: a GET opens a stream, a POST names it."""
    ident = known.old or ""
    if request.method != ("POST" if ident else "GET") or not (ident or known.takes_streams):
        raise RemoteProtocolError("http_method_not_allowed", _HOW)
    if not ident:
        visit.takes_streams = True
        return streams.open(visit)
    stream = streams.find(ident, visit)
    try:
        message = parse_client_message(request.body, known.rules.message_limits)
    except RemoteProtocolError as error:
        if error.code != "batch_refused":
            raise
        _serve_batch(door, stream, visit, request, known)
        return None
    if isinstance(message, ClientRequest):
        inner = stream.receive(visit, message.id)
        visit.accept()
        try:
            session = None if message.method == "initialize" else stream.session(inner.now)
            stream.carry(inner, serve_request(door, message, inner, session, request))
        except SekishoError as error:
            door.refuse(inner, error)
        return None
    take_word(door, message, visit, lambda: stream.session(visit.now), request)
    if isinstance(message, ClientNotification):
        stream.hear(message, visit.now)
    return None


def _serve_batch(door: Serves, stream: OldStream, visit: Visit, request: HttpRequest, known: Pass) -> None:
    """A batch was posted: refused where it is posted, answered by one event of the stream."""
    session = stream.session(visit.now)
    messages = read_batch(request.body, session, known.rules)

    def hear(message: ClientNotification) -> None:
        stream.hear(message, visit.now)

    if not any(isinstance(one, ClientRequest) for one in messages):
        start_batch(door, messages, visit, session, request, hear=hear)
        return
    inner = stream.receive(visit, None)
    visit.accept()
    stream.carry(inner, start_batch(door, messages, inner, session, request, hear=hear))


def _address(endpoint: PluginName | None, ident: str) -> str:
    return f"/sse/{ident}" if endpoint is None else f"/p/{endpoint}/sse/{ident}"
