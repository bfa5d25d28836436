"""Kept HTTP/1.1 connections to one site, each carrying one request at a time.

Guarantees that every request started ends in exactly one of `take_whole`, `take_end` and `take_loss` of its reply, and
that nothing more is said to it then. A connection on which bytes came that nobody asked for, or that broke HTTP, is not
used again. A request is never repeated here. Knows no MCP; redirects are ordinary replies here and followed nowhere.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final, Protocol, cast

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.site import Doorway, Site
from sekisho.plugin_server.unfinished import Unfinished
from sekisho.protocol import (
    LARGE_BODY_BYTES,
    BodyChunk,
    HttpLimits,
    Places,
    ResponseEnd,
    ResponseEvent,
    ResponseHead,
    ResponseReader,
    WholeAnswers,
)

__all__ = ["Connection", "Pool", "Reply"]

MAX_IDLE: Final = 256  # kept connections; beyond this they are closed after use
KEEP_S: float = 4.0  # less than servers keep theirs (uvicorn: 5 s), so that none is closed under a request
CONNECT_TIMEOUT_S: Final = 10.0  # each of dialling and of the TLS handshake
MAX_HEAD_BYTES: Final = 32 << 10
READ_BYTES: Final = 64 << 10  # of a large body this much is copied, the rest comes to where it belongs
KEEP_PLACES_S: Final = 4.0
MAX_PLACES: Final = 8


class Reply(Protocol):
    """Whoever reads the reply to one request. What it raises of ours ends the connection and comes back as its loss."""

    def take_whole(self, body: bytes) -> None:
        """A 200 with one JSON text: all there is."""

    def take_head(self, head: ResponseHead) -> None:
        """The head came."""

    def take_body(self, data: bytes | memoryview) -> int:
        """Some of the body came; as a view: all of a large one, in one of our `Places`. How much is held."""

    def take_messages(self, messages: Sequence[bytes]) -> None:
        """The body came: an event stream with these messages and nothing else."""

    def take_end(self) -> None:
        """The reply is complete; its connection may carry another request already."""

    def take_loss(self, error: SekishoError) -> None:
        """The reply will not be complete."""


class Pool:
    """The connections to one site."""

    def __init__(
        self,
        site: Site,
        doorway: Doorway,
        context: ssl.SSLContext | None,
        *,
        max_body_bytes: int,
        unfinished: Unfinished | None = None,
    ) -> None:
        self._site = site
        self._doorway = doorway
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._is_held = False
        self.limits = HttpLimits(max_head_bytes=MAX_HEAD_BYTES, max_body_bytes=max_body_bytes)
        self.unfinished = unfinished or Unfinished()
        self.known = WholeAnswers()
        # One for all connections: it is filled and read within one callback. The loop would make one for each read.
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._places = Places(MAX_PLACES)
        self._is_drop_due = False

    @property
    def size(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def take(self) -> Connection | None:
        """A kept connection, if there is one."""
        oldest = self._loop.time() - KEEP_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """A new connection; raises `SekishoError`."""
        try:
            opened = await self._doorway.open()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, made = await self._loop.create_connection(
                    self._make,
                    sock=opened,
                    ssl=self._context,
                    server_hostname=None if self._context is None else self._site.host,
                )
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                "plugin_unavailable",
                "the MCP server at this URL shows a certificate that is not trusted",
                remedy="name its authority in upstream_ca_path",
            ) from error
        except (OSError, TimeoutError) as error:
            raise Unavailable("plugin_unavailable", "the MCP server at this URL does not answer") from error
        connection = cast(Connection, made)
        if (
            self._is_held
        ):  # not in `connection_made`: uvloop, and asyncio before 3.11.4, begin to read after it
            connection.hold(is_held=True)
        return connection

    def close(self) -> None:
        """End every connection; those who wait for a reply hear of it."""
        for connection in tuple(self._open):
            connection.abort()

    def hold(self, *, is_held: bool) -> None:
        """Read nothing for a while: whoever hears what comes does not keep up."""
        self._is_held = is_held
        for connection in self._open:
            connection.hold(is_held=is_held)

    @property
    def kept_bytes(self) -> int:
        """What is kept for the next large bodies."""
        return self._places.kept_bytes

    def place(self, size: int) -> memoryview:
        """Where a large body belongs."""
        if not self._is_drop_due:
            self._is_drop_due = True
            self._loop.call_later(KEEP_PLACES_S, self._drop_places)
        return self._places.take(size)

    def _drop_places(self) -> None:
        self._is_drop_due = False
        self._places.drop()

    def opened(self, connection: Connection) -> None:
        """A connection began."""
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        self._open.discard(connection)

    def _make(self) -> asyncio.BaseProtocol:
        # it inherits nothing: a compiled class with a base that is not would be no faster than an interpreted one
        return cast(asyncio.BaseProtocol, Connection(self))

    def release(self, connection: Connection, *, keep_alive: bool) -> None:
        """A connection has carried its request."""
        if keep_alive and connection.is_open and len(self._idle) < MAX_IDLE:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
        else:
            connection.abort()


class Connection:
    """One kept connection, as a protocol of the event loop.

    What a head announced and has not come yet is read to where it belongs, if it is much.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._body: memoryview | None = None  # of a large answer, and how much of it is here
        self._have = 0
        self._held = 0  # of the answer under way, here or by whoever reads it
        self._reader = ResponseReader(pool.limits)
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None  # of the request under way
        self._is_reading = False  # its reply has begun, and is read the long way
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """True while a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, request: bytes, reply: Reply) -> None:
        """Send one request."""
        if self._transport is None:  # it was lost before anything could be sent
            reply.take_loss(_closed())
            return
        self._reply = reply
        self._transport.write(request)

    def abort(self) -> None:
        """End it now; a reply under way is lost."""
        if self._transport is not None:
            self._transport.abort()

    def hold(self, *, is_held: bool) -> None:
        """Read nothing for a while, or again."""
        if self._transport is None or self._transport.is_closing():
            return
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)
        self._pool.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop puts what it reads."""
        del sizehint
        return self._pool.buffer if self._body is None else self._body[self._have :]

    def buffer_updated(self, nbytes: int) -> None:
        """So much was put there."""
        if self._body is None:
            self._received(self._pool.buffer[:nbytes].tobytes())
            return
        self._have += nbytes
        reply = self._reply
        if self._have == len(self._body) and reply is not None:
            body = self._body
            self._done()
            self._pool.release(self, keep_alive=True)
            try:
                reply.take_body(body)
                reply.take_end()
            except SekishoError as error:
                self.abort()
                reply.take_loss(error)

    def data_received(self, data: bytes) -> None:
        """For asyncio's own loop, which knows a protocol with a buffer by its base class only."""
        at = 0
        while at < len(data):
            buffer = self.get_buffer(len(data) - at)
            size = min(len(buffer), len(data) - at)
            buffer[:size] = data[at : at + size]
            at += size
            self.buffer_updated(size)

    def pause_writing(self) -> None:
        """How much may wait for a server is bounded by who sends: see `Upstream.has_room`."""

    def resume_writing(self) -> None:
        """It reads again."""

    def eof_received(self) -> None:
        """It says no more: the loop closes the connection."""

    def _received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.abort()  # bytes nobody asked for
            return
        is_first = not self._is_reading
        if is_first:
            body = self._pool.known.body_of(data)
            if body is not None:
                self._reply = None
                self._pool.release(self, keep_alive=True)
                reply.take_whole(body)
                return
            if self._took_stream(reply, data) or self._took_beginning(reply, data):
                return
            self._is_reading = True
        try:
            events = self._reader.feed(data)
            if is_first:  # of a later read the first bytes are no head, whatever they look like
                self._pool.known.learn(data, events)
            self._hand_on(reply, events)
        except SekishoError as error:
            self._done()
            self.abort()
            reply.take_loss(error)

    def _took_stream(self, reply: Reply, data: bytes) -> bool:
        """True if a whole stream came at once."""
        known = self._pool.known
        with_messages = known.messages_of(data) if len(data) <= self._pool.limits.max_body_bytes else None
        with_body = known.stream_of(data) if with_messages is None else None
        try:
            if with_messages is not None:
                reply.take_head(with_messages[0])
                reply.take_messages(with_messages[1])
            elif with_body is not None:
                reply.take_head(with_body[0])
                reply.take_body(with_body[1])
            else:
                return False
            if self._reply is reply:  # else it was withdrawn
                self._reply = None
                self._pool.release(self, keep_alive=True)
                reply.take_end()
        except SekishoError as error:
            self._done()
            self.abort()
            reply.take_loss(error)
        return True

    def _took_beginning(self, reply: Reply, data: bytes) -> bool:
        """True if a large answer began, with a head that is known."""
        known = self._pool.known.begun_of(data)
        if known is None:
            return False
        head, begun = known
        try:
            if not self._go_on_directly(head, begun):
                return False
            reply.take_head(head)
        except SekishoError as error:
            self._done()
            self.abort()
            reply.take_loss(error)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._pool.lost(self)
        reply = self._reply
        if reply is None:
            return
        try:
            events = self._reader.eof()
        except SekishoError:
            events = []
        self._done()
        if events:  # a body that lasts until the connection ends is complete now
            reply.take_end()
        else:
            reply.take_loss(_closed())

    def _done(self) -> None:
        self._reply = None
        self._is_reading = False
        self._body = None
        self._hold(0)

    def _hold(self, size: int) -> None:
        if size != self._held:
            self._pool.unfinished.change(self._held, size)
            self._held = size

    def _go_on_directly(self, head: ResponseHead, begun: bytes) -> bool:
        """Read the rest of a plain answer to where it belongs, if it is much; what must be judged is in the head."""
        size = int(head.headers.get("content-length", "0"))
        if head.status != 200 or not head.keep_alive or not head.is_json or size < LARGE_BODY_BYTES:
            return False
        self._hold(size)
        self._body = self._pool.place(size)
        self._have = len(begun)
        self._body[: self._have] = begun
        return True

    def _hand_on(self, reply: Reply, events: Sequence[ResponseEvent]) -> None:
        match events:
            case [ResponseHead() as head, BodyChunk(data=begun)] if self._go_on_directly(head, begun):
                self._reader = ResponseReader(self._pool.limits)  # the old one is in the middle of a body
                reply.take_head(head)
                return
        held = self._held
        for index, event in enumerate(events, 1):
            match event:
                case ResponseHead():
                    reply.take_head(event)
                case BodyChunk():
                    held = reply.take_body(event.data)
                case ResponseEnd():
                    self._done()
                    is_alone = index == len(events) and not self._reader.in_response
                    self._pool.release(self, keep_alive=event.keep_alive and is_alone)
                    reply.take_end()
                    return
            if self._reply is not reply:  # it was withdrawn
                return
        self._hold(held)


def _closed() -> Unavailable:
    return Unavailable("plugin_exited", "the MCP server closed the connection")


def redirected() -> RemoteProtocolError:
    """The error of a redirect, which is followed nowhere: it would send credentials where nobody allowed."""
    return RemoteProtocolError(
        "plugin_protocol",
        "the MCP server redirects its clients, which is not followed",
        remedy="write the address it leads to as upstream",
    )
