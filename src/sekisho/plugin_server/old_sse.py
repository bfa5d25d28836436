"""An MCP server at a URL, over the transport of 2024-11-05: one stream from it (GET), one address for messages (POST).

Guarantees
- messages go to the address the server names first on its stream, and only if it is of the same origin: our messages and
  credentials are for this server;
- the end of the stream is the end of the session, and everybody who waits hears it;
- whatever comes back from a POST but its status is not read: answers come on the stream.

A stream says nothing about whose message a message is, so `of` is unknown here as it is on pipes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.authoriser import Authoriser
from sekisho.plugin_server.heads import RequestHeads
from sekisho.plugin_server.http_pool import Pool, redirected
from sekisho.plugin_server.refusals import status_error
from sekisho.plugin_server.site import Doorway, Site
from sekisho.plugin_server.transport import Hearer
from sekisho.protocol import ResponseHead, SseReader

__all__ = ["OldSse"]

OPEN_TIMEOUT_S: Final = 10.0
MAX_BUSY: Final = 1024  # messages under way
MAX_POSTED_BYTES: Final = 64 << 10  # of what comes back from a POST; nobody reads it


class _Id(msgspec.Struct):
    id: int | str | None = None
    method: str = ""


class OldSse:
    """Sends messages to one MCP server and hands its messages to `hearer`. `on_end` hears when the stream is over."""

    def __init__(
        self,
        site: Site,
        *,
        hearer: Hearer,
        authoriser: Authoriser,
        context: ssl.SSLContext | None,
        may_be_private: bool,
        trace: Sequence[str] = (),
        max_body_bytes: int,
        on_end: Callable[[SekishoError], None],
    ) -> None:
        self._site = site
        self._hearer = hearer
        self._authoriser = authoriser
        self._trace = trace
        self._doorway = Doorway(site, may_be_private=may_be_private)
        self._pool = Pool(site, self._doorway, context, max_body_bytes=MAX_POSTED_BYTES)
        self._max_event_bytes = max_body_bytes
        self._on_end = on_end
        self._heads: RequestHeads | None = None  # of the address for messages
        self._named: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_closed = False
        self._posts: set[_Posted] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def has_streams(self) -> bool:
        """There is one for everything."""
        return False

    async def open(self) -> None:
        """Open the stream and learn where messages go; raises `SekishoError`."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._listen(is_renewed=False)
        except TimeoutError:
            raise Unavailable("plugin_timeout", "the MCP server names no endpoint for messages") from None

    def has_room(self) -> bool:
        """False while too many messages are under way."""
        return len(self._posts) < MAX_BUSY

    def use_version(self, version: str) -> None:
        """Later messages say it in a header, which servers of this age ignore."""
        if self._heads is not None:
            self._heads.use_version(version)

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        """No argument is repeated."""

    def withdraw(self, ident: int) -> None:
        """The message that cancels is all there is."""

    def send(self, message: bytes, ident: int = 0, words: bytes = b"") -> None:
        """Post one message."""
        read = msgspec.json.decode(message, type=_Id)
        posted = _Posted(self, message, read.id if read.method else None)
        self._posts.add(posted)
        self._spawn(self._post(posted))

    async def close(self) -> None:
        """End the stream and everything under way."""
        self._is_closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.close()
        self._doorway.close()
        if self._named.done() and not self._named.cancelled():
            self._named.exception()  # it was heard, or nobody asked

    async def _listen(self, *, is_renewed: bool) -> None:
        self._named = asyncio.get_running_loop().create_future()
        stream = _Stream(self, self._max_event_bytes)
        connection = await self._pool.connect()
        connection.start(RequestHeads(self._site, self._authoriser).get(""), stream)
        try:
            await self._named
        except _TurnedAway as error:
            if is_renewed or not await self._authoriser.refused(error.status, error.challenge, error.nonce):
                raise
        else:
            return
        await self._listen(is_renewed=True)

    async def _post(self, posted: _Posted) -> None:
        if self._heads is None:
            posted.take_loss(Unavailable("plugin_unavailable", "the MCP server named no endpoint"))
            return
        try:
            head = self._heads.post(posted.message)
            connection = self._pool.take() or await self._pool.connect()
        except SekishoError as error:
            posted.take_loss(error)
            return
        connection.start(head + posted.message, posted)

    def posted(self, posted: _Posted, error: SekishoError | None) -> None:
        """A message arrived, or did not."""
        if isinstance(error, _TurnedAway) and not posted.is_renewed and not self._is_closed:
            posted.is_renewed = True
            self._spawn(self._renew(posted, error))
            return
        self._posts.discard(posted)
        if error is not None and posted.wanted is not None:
            self._hearer.fail_one(posted.wanted, error)

    async def _renew(self, posted: _Posted, error: _TurnedAway) -> None:
        if await self._authoriser.refused(error.status, error.challenge, error.nonce):
            await self._post(posted)
        else:
            self.posted(posted, error)

    def named(self, reference: str) -> None:
        """The stream named the address for messages; the first time counts."""
        if self._named.done():
            return
        try:
            self._heads = RequestHeads(self._site.at(reference), self._authoriser, self._trace)
        except SekishoError as error:
            self._named.set_exception(error)
        else:
            self._named.set_result(None)

    def heard(self, messages: Sequence[bytes]) -> None:
        """The stream brought messages."""
        if self._heads is not None:
            self._hearer.receive_all(messages)

    def ended(self, error: SekishoError) -> None:
        """The stream is over."""
        if not self._named.done():
            self._named.set_exception(error)
        elif not self._is_closed:
            self._hearer.fail_all(error)
            self._on_end(error)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _TurnedAway(Unavailable):
    """The credentials were refused."""

    def __init__(self, head: ResponseHead) -> None:
        error = status_error(head.status)
        super().__init__(error.code, error.message, remedy=error.remedy)
        self.status = head.status
        self.challenge = head.headers.get("www-authenticate", "")
        self.nonce = head.headers.get("dpop-nonce", "")


def _check(head: ResponseHead) -> None:
    if head.status in (401, 403):
        raise _TurnedAway(head)
    if head.status >= 400:
        raise status_error(head.status)
    if head.status >= 300:
        raise redirected()


class _Stream:
    """The reply to the GET."""

    def __init__(self, owner: OldSse, max_event_bytes: int) -> None:
        self._owner = owner
        self._events = SseReader(max_event_bytes)

    def take_whole(self, body: bytes) -> None:
        """One JSON text is no stream."""
        del body
        self._owner.ended(RemoteProtocolError("plugin_protocol", "the MCP server opens no stream"))

    def take_head(self, head: ResponseHead) -> None:
        """It must be a stream."""
        _check(head)
        is_plain = head.headers.get("content-encoding", "identity").lower() == "identity"
        if head.status != 200 or not head.is_event_stream or not is_plain:
            raise RemoteProtocolError("plugin_protocol", "the MCP server opens no stream")

    def take_body(self, data: bytes | memoryview) -> int:
        """Some events."""
        messages: list[bytes] = []
        for event in self._events.feed_named(bytes(data)):
            if event.name == "endpoint":
                self._owner.named(event.data.decode("utf-8", "replace"))
            elif event.name == "message":
                messages.append(event.data)
        if messages:
            self._owner.heard(messages)
        return self._events.held_bytes

    def take_messages(self, messages: Sequence[bytes]) -> None:
        """All of them."""
        self._owner.heard(messages)

    def take_end(self) -> None:
        """It is over."""
        self._owner.ended(Unavailable("plugin_exited", "the MCP server ended its stream"))

    def take_loss(self, error: SekishoError) -> None:
        """It is over."""
        self._owner.ended(error)


class _Posted:
    """The reply to one POST."""

    def __init__(self, owner: OldSse, message: bytes, wanted: int | str | None) -> None:
        self._owner = owner
        self.message = message
        self.wanted = wanted
        self.is_renewed = False

    def take_whole(self, body: bytes) -> None:
        """It arrived."""
        del body
        self._owner.posted(self, None)

    def take_head(self, head: ResponseHead) -> None:
        """Judge the status."""
        _check(head)

    def take_body(self, data: bytes | memoryview) -> int:
        """Not read."""
        return 0

    def take_messages(self, messages: Sequence[bytes]) -> None:
        """Not read either."""

    def take_end(self) -> None:
        """It arrived."""
        self._owner.posted(self, None)

    def take_loss(self, error: SekishoError) -> None:
        """It may not have arrived."""
        self._owner.posted(self, error)
