"""An MCP server at a URL, over Streamable HTTP of both eras: the transport of its session.

One POST per message, no other request per call. The client's own token never comes this far: `RequestHeads` writes all
that is sent. Answers come as JSON or as an SSE stream; both end at the hearer, with the request whose stream it was.

Guarantees
- a request is sent once. It is sent again only where the server said that it did nothing with it: its credentials were
  refused and there are others now, or its session is unknown and a new one was opened; each at most once. A connection
  that is lost fails its request;
- a stream that ends before its answer, at a known event, is resumed by GET after the pause the server asked for, a
  bounded number of times without news;
- with a legacy server: the first messages wait until `notifications/initialized` has arrived; then a GET stream listens
  for what belongs to no call, if there is one; leaving ends the session by DELETE;
- with a modern one none of this exists, and a withdrawn request is a closed stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Literal

import msgspec

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.authoriser import Authoriser, StaticHeaders
from sekisho.plugin_server.envelopes import read_ident
from sekisho.plugin_server.heads import RequestHeads
from sekisho.plugin_server.http_pool import Pool
from sekisho.plugin_server.refusals import error_answer, status_error
from sekisho.plugin_server.reopening import Reopening
from sekisho.plugin_server.reply import RemoteReply
from sekisho.plugin_server.site import Doorway, Site, trusting
from sekisho.plugin_server.transport import Hearer
from sekisho.plugin_server.unfinished import Unfinished
from sekisho.protocol import ResponseHead

__all__ = ["Upstream"]

MAX_RENEWALS: Final = 2  # of the credentials of one request
MAX_BUSY: Final = 2048  # requests under way; more calls are refused before
MAX_FRUITLESS: Final = 5  # resumptions without any event between them
NOTICE_TIMEOUT_S: Final = (
    30.0  # for what nobody waits for: a server that never says 202 must not hold connections
)
LINGER_S: Final = 5.0  # how long a stream may stay open behind its answer
FAREWELL_S: Final = 2.0
_OWN_REQUEST: Final = re.compile(
    rb'\{"jsonrpc":"2\.0","id":([0-9]{1,18}),"method":"'
)  # as `session` writes them
_INITIALIZED: Final = b'"notifications/initialized"'


class Upstream:
    """Sends messages to one MCP server at a URL and hands its messages to `hearer`.

    Args:
        on_session_lost: the server forgot the session, and a new one stands: what it was told before is gone.
        on_end: the server cannot be talked to any more.
        is_our_gate: the server is a gate of ours, whose errors are the client's whatever their status.
        fall_back: asked when the server refuses `initialize` as one of the older transport does; it takes the message
            over, or says no.
        unfinished: counts what is held of answers, here and in other sessions with the same server.
    """

    def __init__(
        self,
        site: Site,
        *,
        hearer: Hearer,
        max_body_bytes: int,
        authoriser: Authoriser | None = None,
        context: ssl.SSLContext | None = None,
        may_be_private: bool = False,
        trace: Sequence[str] = (),
        on_session_lost: Callable[[], None] = lambda: None,
        on_end: Callable[[SekishoError], None] = lambda error: None,
        fall_back: Callable[[bytes, SekishoError], None] | None = None,
        is_our_gate: bool = False,
        unfinished: Unfinished | None = None,
    ) -> None:
        if site.scheme == "https" and context is None:
            context = trusting(None)
        self._hearer = hearer
        self._authoriser = authoriser or StaticHeaders()
        self._doorway = Doorway(site, may_be_private=may_be_private)
        self._pool = Pool(
            site,
            self._doorway,
            context if site.scheme == "https" else None,
            max_body_bytes=max_body_bytes,
            unfinished=unfinished,
        )
        self.max_event_bytes = max_body_bytes
        self._heads = RequestHeads(site, self._authoriser, trace)
        self._on_session_lost = on_session_lost
        self._on_end = on_end
        self._fall_back = fall_back
        self._is_our_gate = is_our_gate
        self._loop = asyncio.get_running_loop()
        self._replies: dict[int | str, RemoteReply] = {}
        self._others: set[RemoteReply] = set()  # those of messages that are no requests
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[RemoteReply, asyncio.TimerHandle] = {}
        self._held: list[RemoteReply] | None = None  # while a session is being opened
        self._hello = Reopening()
        self._is_closed = False

    @property
    def has_streams(self) -> bool:
        """Every request has its own."""
        return True

    def has_room(self) -> bool:
        """False while too many requests are under way."""
        return len(self._replies) + len(self._others) < MAX_BUSY

    def use_version(self, version: str) -> None:
        """The protocol version agreed on."""
        self._heads.use_version(version)

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        """The tools, for the arguments that a modern server wants repeated in headers."""
        self._heads.use_tools(tools)

    def send(self, message: bytes, ident: int = 0, words: bytes = b"") -> None:
        """Post one message; its answer, if it is a request, arrives at the hearer."""
        if ident and self._held is None:  # nearly always
            reply = self._replies[ident] = RemoteReply(self, self._hearer, message, ident)
            self._post(reply, words)
            return
        own = _OWN_REQUEST.match(message)
        wanted = int(own[1]) if own is not None else _id_of(message)
        reply = self._new_reply(message, wanted)
        if self._held is not None:
            self._held.append(reply)
            return
        if wanted is None:
            self._watch(reply)
        elif self._heads.version is None:
            self._hello.saw(message)
        self._post(reply)

    def withdraw(self, ident: int | str) -> None:
        """Close the stream of this request; nothing of it is handed on any more."""
        reply = self._replies.pop(ident, None)
        if reply is not None:
            self._forget_timer(reply)
            reply.withdraw()

    def hold(self, *, is_held: bool) -> None:
        """Take no more from the server while whoever hears it lags behind."""
        self._pool.hold(is_held=is_held)

    async def close(self) -> None:
        """End the session, kept connections and those being opened."""
        if not self._is_closed and self._heads.is_legacy and self._heads.session is not None:
            farewell = self._new_reply(b"", None, "DELETE")
            said = asyncio.Event()
            farewell.on_end = said.set
            self._post(farewell)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(said.wait(), FAREWELL_S)
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for reply in (*self._replies.values(), *self._others):
            reply.give_up("the session with the MCP server was ended")
        self._pool.close()
        self._doorway.close()

    # what replies say: see `reply.Owner`

    def ended(self, reply: RemoteReply) -> None:
        """A reply is over."""
        wanted = reply.wanted
        if wanted is None:
            self._others.discard(reply)
        elif self._replies.get(wanted) is reply:
            del self._replies[wanted]
        if self._timers:
            self._forget_timer(reply)

    def has_answered(self, reply: RemoteReply) -> None:
        """Its stream should end now, and is ended if it does not."""
        if reply not in self._timers:
            self._after(LINGER_S, reply, lambda: reply.give_up("its stream did not end"))

    def gave_session(self, session: str) -> None:
        """Later messages carry it."""
        if self._heads.use_session(session):
            self._pool.known.forget()  # a head that names another session means something else now

    def turned_away(self, reply: RemoteReply, head: ResponseHead, body: bytes) -> None:
        """A status of 400 or more."""
        # the first request with a DPoP proof may need a token and then the server's nonce (RFC 9449 section 8)
        most = MAX_RENEWALS if "dpop-nonce" in head.headers else 1
        if head.status in (401, 403) and reply.renewals < most:
            reply.renewals += 1
            self._spawn(self._renew(reply, head, body))
            return
        is_post = reply.method == "POST"
        if head.status == 404 and is_post and self._can_reopen(reply):
            reply.is_reopened = True
            self._hold([reply])
            return
        if reply.wanted is None or not is_post:
            reply.fail(status_error(head.status))  # whoever asked by GET hears of it if it resumed a request
            return
        answer = error_answer(reply.wanted, head.status, body, of_our_gate=self._is_our_gate)
        if answer is not None:
            reply.answer(answer)
        elif self._fall_back is not None and head.status in (400, 404, 405) and self._is_first_hello(reply):
            reply.withdraw()
            self.ended(reply)
            self._fall_back(reply.message, status_error(head.status))
        else:
            reply.fail(status_error(head.status))

    def broke_off(self, reply: RemoteReply) -> None:
        """Resume its stream after a pause."""
        if reply.wanted is not None and reply.fruitless >= MAX_FRUITLESS:
            reply.fail(Unavailable("plugin_exited", "the MCP server broke the stream off again and again"))
            return
        self._forget_timer(reply)
        self._after(reply.pause_s, reply, lambda: self._resume(reply))

    def _resume(self, reply: RemoteReply) -> None:
        self._timers.pop(reply, None)
        reply.fruitless += 1
        reply.method = "GET"
        self._post(reply)

    # sending

    def _new_reply(
        self, message: bytes, wanted: int | str | None, method: Literal["POST", "GET", "DELETE"] = "POST"
    ) -> RemoteReply:
        reply = RemoteReply(self, self._hearer, message, wanted)
        if method != "POST":
            reply.method = method
        if wanted is None:
            self._others.add(reply)
        else:
            self._replies[wanted] = reply
        return reply

    def _watch(self, reply: RemoteReply) -> None:
        """A message nobody waits for is bounded here; the one that opens the session lets the others wait."""
        self._bound(reply)
        if self._heads.is_legacy and _INITIALIZED in reply.message:
            self._held = []
            reply.on_end = self._opened

    def _bound(self, reply: RemoteReply) -> None:
        self._after(NOTICE_TIMEOUT_S, reply, lambda: reply.give_up("it was not taken in time"))

    def _opened(self) -> None:
        held, self._held = self._held or [], None
        for reply in held:
            if not reply.is_over:
                if reply.wanted is None:
                    self._bound(reply)
                self._post(reply)
        if not self._is_closed and not any(reply.method == "GET" for reply in self._others):
            self._post(self._new_reply(b"", None, "GET"))

    def _post(self, reply: RemoteReply, words: bytes = b"") -> None:
        try:
            head = self._heads.post(reply.message, words) if reply.method == "POST" else self._head(reply)
        except SekishoError as error:
            reply.fail(error)
            return
        connection = self._pool.take()
        if connection is not None:
            reply.begin(connection, head)
        else:
            self._spawn(self._connect(reply, head))

    def _head(self, reply: RemoteReply) -> bytes:
        return self._heads.get(reply.last_event_id) if reply.method == "GET" else self._heads.delete()

    async def _connect(self, reply: RemoteReply, head: bytes) -> None:
        try:
            connection = await self._pool.connect()
        except SekishoError as error:
            if reply.method == "GET" and not reply.is_over:  # the server is away; what breaks off is resumed
                self.broke_off(reply)
            else:
                reply.fail(error)
            return
        if reply.is_over:
            self._pool.release(connection, keep_alive=True)
        else:
            reply.begin(connection, head)

    async def _renew(self, reply: RemoteReply, head: ResponseHead, body: bytes) -> None:
        challenge, nonce = (head.headers.get(name, "") for name in ("www-authenticate", "dpop-nonce"))
        if await self._authoriser.refused(head.status, challenge, nonce):
            if not reply.is_over:
                self._post(reply)
        elif self._authoriser.problem is not None:
            reply.fail(self._authoriser.problem)
        else:
            reply.renewals = MAX_RENEWALS
            self.turned_away(reply, head, body)

    # sessions

    def _is_first_hello(self, reply: RemoteReply) -> bool:
        return self._heads.version is None and self._hello.is_hello(reply.message)

    def _can_reopen(self, reply: RemoteReply) -> bool:
        return (
            self._heads.is_legacy
            and self._heads.session is not None
            and not reply.is_reopened
            and reply.on_end is None  # what opens a session is not sent again in another
            and self._hello.is_known
        )

    def _hold(self, replies: list[RemoteReply]) -> None:
        """Send these once a new session stands."""
        if self._held is not None:
            self._held += replies
            return
        self._held = replies
        self._heads.use_session(None)
        self._pool.known.forget()
        self._spawn(self._reopen())

    async def _reopen(self) -> None:
        """The handshake of before, once more; the server must agree to the same version."""
        hello, answer = self._hello.again(self._heads.version or "")
        again, ident = self._hello.message, self._hello.ident
        self._post(RemoteReply(self, hello, again, ident))
        try:
            await answer
        except SekishoError as error:
            held, self._held = self._held or [], None
            for reply in held:
                reply.fail(error)
            self._on_end(error)
            return
        notice = self._new_reply(self._hello.NOTICE, None)
        notice.on_end = self._opened
        self._post(notice)
        self._on_session_lost()

    # time

    def _after(self, pause_s: float, reply: RemoteReply, act: Callable[[], None]) -> None:
        self._timers[reply] = self._loop.call_later(pause_s, act)

    def _forget_timer(self, reply: RemoteReply) -> None:
        timer = self._timers.pop(reply, None)
        if timer is not None:
            timer.cancel()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _id_of(message: bytes) -> int | str | None:
    read = read_ident(message)
    return read.id if read.method else None
