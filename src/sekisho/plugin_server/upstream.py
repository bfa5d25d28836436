"""An MCP server that already listens somewhere (Streamable HTTP), as a plugin: a pool of kept connections.

One POST per message, no other request per call. The client's own token never comes this far: only the headers below are
sent. Answers come as JSON or as an SSE stream; both end in the same `receive` as stdio lines. When a response ends,
`on_failure` hears of its request in any case, so that none waits for an answer that was not in it; whoever keeps the
requests ignores it for those already answered. A request is sent once and never again: a connection that is lost
fails it. Events of a stream are handed on as they come.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import msgspec

from sekisho.errors import Misconfigured, RemoteProtocolError, SekishoError, Unavailable
from sekisho.protocol import (
    BodyChunk,
    HttpLimits,
    Pieces,
    ResponseEnd,
    ResponseEvent,
    ResponseHead,
    ResponseReader,
    SseReader,
    WholeAnswers,
    request_head_bytes,
)

__all__ = ["Upstream"]

MAX_IDLE = 256  # kept connections; beyond this they are closed after use
KEEP_S = 4.0  # less than servers keep theirs (uvicorn: 5 s), so that none is closed under a request
CONNECT_TIMEOUT_S = 5.0
VERSION_HEADER = "MCP-Protocol-Version"
SESSION_ID = re.compile(r"[\x21-\x7e]+")  # what MCP allows; anything else could not be sent back
OWN_REQUEST = re.compile(rb'\{"jsonrpc":"2\.0","id":([0-9]{1,18}),"method":"')  # as `session` writes them
LENGTH_LINE = b"\r\nContent-Length: %d\r\n"


class _Id(msgspec.Struct):
    id: int | str | None = None
    method: str = ""


class Upstream:
    """Sends messages to one MCP server at a URL and hands its messages to `receive`."""

    def __init__(
        self,
        url: str,
        *,
        receive: Callable[[bytes], None],
        receive_all: Callable[[Sequence[bytes]], None] | None = None,
        on_failure: Callable[[int | str, SekishoError], None],
        max_body_bytes: int,
        is_waiting: Callable[[int | str], bool] = lambda ident: True,
        context: ssl.SSLContext | None = None,
        headers: Sequence[tuple[str, str]] = (),
        headers_for: Callable[[bytes], Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or parts.hostname is None
            or parts.username
            or parts.fragment
        ):
            raise Misconfigured(
                "config_invalid",
                f"{url!r} is not the URL of an MCP server",
                remedy="write http(s)://host:port/path",
            )
        self._context = (context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = tuple(headers)
        self._headers_for = headers_for
        self._host = parts.hostname
        self._port = parts.port or (80 if self._context is None else 443)
        self._authority = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._receive = receive
        self._receive_all = receive_all or partial(_one_by_one, receive)
        self._on_failure = on_failure
        self._is_waiting = is_waiting
        self._limits = HttpLimits(max_head_bytes=32 << 10, max_body_bytes=max_body_bytes)
        self._idle: list[_Exchange] = []
        self._busy: set[_Exchange] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._session: str | None = None
        self._version: str | None = None
        self._known = WholeAnswers()
        self._head: tuple[bytes, bytes] | None = None  # of every request: before and behind its length

    def use_version(self, version: str) -> None:
        """The protocol version agreed in the handshake; sent with every later message."""
        self._version = version
        self._head = None

    def send(self, message: bytes) -> None:
        """Post one message; its answer, if it is a request, arrives at `receive`."""
        own = OWN_REQUEST.match(message)
        wanted = int(own[1]) if own is not None else _id_of(message)
        oldest = self._loop.time() - KEEP_S
        while self._idle:
            exchange = self._idle.pop()
            if exchange.is_open and exchange.idle_since > oldest:
                self._post(exchange, message, wanted)
                return
            exchange.abort()
        task = self._loop.create_task(self._connect_and_post(message, wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close kept connections and end those being opened."""
        for exchange in (*self._idle, *self._busy):
            exchange.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect_and_post(self, message: bytes, wanted: int | str | None) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, exchange = await self._loop.create_connection(
                    lambda: _Exchange(self), self._host, self._port, ssl=self._context
                )
        except (OSError, TimeoutError):
            self._fail(
                wanted, Unavailable("plugin_unavailable", "the MCP server at this URL does not answer")
            )
            return
        self._post(exchange, message, wanted)

    def _post(self, exchange: _Exchange, message: bytes, wanted: int | str | None) -> None:
        if self._headers_for is not None:
            head = self._head_bytes(self._headers_for(message), len(message))
        else:
            if self._head is None:
                before, _, behind = self._head_bytes((), 1).partition(LENGTH_LINE % 1)
                self._head = before, behind
            head = self._head[0] + LENGTH_LINE % len(message) + self._head[1]
        self._busy.add(exchange)
        exchange.start(head + message, wanted)

    def _head_bytes(self, own: Sequence[tuple[str, str]], size: int) -> bytes:
        headers = [
            *self._headers,
            *own,
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ]
        if self._session is not None:
            headers.append(("Mcp-Session-Id", self._session))
        if self._version is not None and not any(name == VERSION_HEADER for name, _ in own):
            headers.append((VERSION_HEADER, self._version))
        return request_head_bytes("POST", self._target, self._authority, headers, size)

    def _use_session(self, session: str) -> None:
        if session != self._session:
            self._session = session
            self._head = None
            self._known.forget()

    def _complete(self, exchange: _Exchange, wanted: int | str | None, body: bytes) -> None:
        """The usual answer, in one piece."""
        self._receive(body)
        self._finish(exchange, wanted, 200, keep_alive=True)

    def _finish(
        self, exchange: _Exchange, wanted: int | str | None, status: int, *, keep_alive: bool
    ) -> None:
        self._release(exchange, keep_alive=keep_alive)
        if wanted is not None and self._is_waiting(wanted):
            what = f"answered HTTP {status}" if status >= 400 else "sent a response without an answer"
            self._fail(wanted, RemoteProtocolError("plugin_protocol", f"the MCP server {what}"))

    def _fail(self, wanted: int | str | None, error: SekishoError) -> None:
        if wanted is not None:
            self._on_failure(wanted, error)

    def _release(self, exchange: _Exchange, *, keep_alive: bool) -> None:
        self._busy.discard(exchange)
        if keep_alive and exchange.is_open and len(self._idle) < MAX_IDLE:
            exchange.idle_since = self._loop.time()
            self._idle.append(exchange)
        else:
            exchange.abort()


def _one_by_one(receive: Callable[[bytes], None], messages: Sequence[bytes]) -> None:
    for message in messages:
        receive(message)


def _id_of(message: bytes) -> int | str | None:
    read = msgspec.json.decode(message, type=_Id)
    return read.id if read.method else None


class _Answer:
    """Reads the answer to one POST."""

    def __init__(self, upstream: Upstream, exchange: _Exchange, wanted: int | str | None) -> None:
        self._upstream = upstream
        self._exchange = exchange
        self._wanted = wanted
        self._body = Pieces()
        self._events: SseReader | None = None
        self._head: ResponseHead | None = None

    def take(self, event: ResponseHead | BodyChunk | ResponseEnd) -> None:
        match event:
            case ResponseHead():
                self._head = event
                session = event.headers.get("mcp-session-id")
                if session is not None and SESSION_ID.fullmatch(session):
                    self._upstream._use_session(session)
                if event.is_event_stream:
                    self._events = SseReader(self._upstream._limits.max_body_bytes)
            case BodyChunk():
                self._take_body(event.data)
            case ResponseEnd():
                self._finish(keep_alive=event.keep_alive)

    def lose(self) -> None:
        self.break_off(Unavailable("plugin_exited", "the MCP server closed the connection"))

    def break_off(self, error: SekishoError) -> None:
        self._upstream._release(self._exchange, keep_alive=False)
        self._upstream._fail(self._wanted, error)

    def _take_body(self, data: bytes) -> None:
        if self._events is None:
            self._body.add(data)
            return
        messages = self._events.feed(data)
        if messages:
            self._upstream._receive_all(messages)

    def _finish(self, *, keep_alive: bool) -> None:
        head = self._head
        if self._body.size and head is not None and head.is_json:
            self._upstream._receive(self._body.take())
        self._upstream._finish(
            self._exchange, self._wanted, 0 if head is None else head.status, keep_alive=keep_alive
        )


class _Exchange(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._reader = ResponseReader(upstream._limits)
        self._transport: asyncio.Transport | None = None
        self._is_asked = False
        self._wanted: int | str | None = None
        self._answer: _Answer | None = None  # while the answer to what was asked is read the long way
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def start(self, data: bytes, wanted: int | str | None) -> None:
        self._wanted = wanted
        if self._transport is None:  # it was lost before anything could be sent
            _Answer(self._upstream, self, wanted).lose()
            return
        self._is_asked = True
        self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_asked:
            self.abort()  # bytes nobody asked for
            return
        known, answer = self._upstream._known, self._answer
        is_first = answer is None
        if answer is None:
            body = known.body_of(data)
            if body is not None:
                self._is_asked = False
                self._upstream._complete(self, self._wanted, body)
                return
            answer = self._answer = _Answer(self._upstream, self, self._wanted)
        try:
            events = self._reader.feed(data)
            if is_first:  # of a later read the first bytes are no head, whatever they look like
                known.learn(data, events)
            self._hand_on(answer, events)
        except SekishoError as error:
            self._done()
            self.abort()
            answer.break_off(error)

    def _done(self) -> None:
        self._is_asked = False
        self._answer = None

    def _hand_on(self, answer: _Answer, events: Sequence[ResponseEvent]) -> None:
        for index, event in enumerate(events, 1):
            if isinstance(event, ResponseEnd):
                self._done()
                if index < len(events) or self._reader.in_response:
                    self.abort()  # more than one answer to one request
                answer.take(event)
                return
            answer.take(event)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if not self._is_asked:
            return
        answer = self._answer or _Answer(self._upstream, self, self._wanted)
        self._done()
        try:
            events = self._reader.eof()
        except SekishoError:
            events = []
        if not events:
            answer.lose()
        for event in events:  # a body that lasts until the connection ends is complete now
            answer.take(event)
