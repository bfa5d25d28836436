"""Kept connections to one site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.plugin_server.http_pool import Connection, Pool
from sekisho.plugin_server.site import Doorway, Site
from sekisho.plugin_server.unfinished import Unfinished
from sekisho.protocol import LARGE_BODY_BYTES, ResponseHead, request_head_bytes, response_bytes

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import SiteOpener

WAIT_S = 5.0
WHOLE = response_bytes(200, b"{}")


class Heard:
    """A reply, written down."""

    def __init__(self, refuses: bool = False) -> None:
        self.said: list[str] = []
        self.over = asyncio.Event()
        self._refuses = refuses

    def take_whole(self, body: bytes) -> None:
        self._end(f"whole {body.decode()}")

    def take_head(self, head: ResponseHead) -> None:
        self.said.append(f"head {head.status}")
        if self._refuses:
            raise RemoteProtocolError("plugin_protocol", "no")

    def take_body(self, data: bytes | memoryview) -> int:
        self.said.append(f"body {bytes(data).decode()}")
        return 0

    def take_messages(self, messages: Sequence[bytes]) -> None:
        self.said += [f"message {one.decode()}" for one in messages]

    def take_end(self) -> None:
        self._end("end")

    def take_loss(self, error: SekishoError) -> None:
        self._end(error.code)

    def _end(self, said: str) -> None:
        assert not self.over.is_set()
        self.said.append(said)
        self.over.set()


@asynccontextmanager
async def _pool(
    url: str, max_body_bytes: int = 1000, unfinished: Unfinished | None = None
) -> AsyncIterator[tuple[Pool, bytes]]:
    site = Site.parse(url)
    doorway = Doorway(site)
    pool = Pool(site, doorway, None, max_body_bytes=max_body_bytes, unfinished=unfinished)
    try:
        yield pool, request_head_bytes("POST", site.target, site.authority, (), 0)
    finally:
        pool.close()
        doorway.close()


async def _ask(pool: Pool, request: bytes, *, refuses: bool = False) -> list[str]:
    heard = Heard(refuses)
    connection = pool.take() or await pool.connect()
    connection.start(request, heard)
    await asyncio.wait_for(heard.over.wait(), WAIT_S)
    return heard.said


async def test_a_connection_is_kept_and_a_known_answer_comes_whole(site: SiteOpener) -> None:
    async with site(lambda request: WHOLE) as server, _pool(server.url) as (pool, request):
        assert await _ask(pool, request) == ["head 200", "body {}", "end"]
        assert await _ask(pool, request) == ["whole {}"]
        assert (server.connections, pool.size) == (1, 1)


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("reply", [b"no http\r\n\r\n", response_bytes(200, b"x" * 1001), WHOLE[:-1]])
async def test_a_broken_reply_is_one_loss_and_ends_the_connection(site: SiteOpener, reply: bytes) -> None:
    async with site(lambda request: reply) as server, _pool(server.url) as (pool, request):
        server.closes_after_reply = True
        said = await _ask(pool, request)
        assert said[-1] in {"plugin_protocol", "result_too_large", "plugin_exited"}
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        assert pool.take() is None


async def test_what_the_reply_refuses_comes_back_as_its_loss(site: SiteOpener) -> None:
    async with site(lambda request: WHOLE) as server, _pool(server.url) as (pool, request):
        assert await _ask(pool, request, refuses=True) == ["head 200", "plugin_protocol"]
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)


@pytest.mark.threat("T-GARBAGE")
async def test_an_answer_nobody_asked_for_is_never_taken_for_the_next_one(site: SiteOpener) -> None:
    async with site(lambda request: WHOLE * 2) as server, _pool(server.url) as (pool, request):
        assert await _ask(pool, request) == ["head 200", "body {}", "end"]
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        server.reply = lambda request: WHOLE
        await _ask(pool, request)
        assert server.connections == 2


async def test_closing_tells_those_who_wait(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server, _pool(server.url) as (pool, request):
        heard = Heard()
        (await pool.connect()).start(request, heard)
        await asyncio.wait_for(server.arrivals.get(), WAIT_S)
        pool.close()
        await asyncio.wait_for(heard.over.wait(), WAIT_S)
        assert heard.said == ["plugin_exited"]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_pool_that_is_held_reads_nothing_until_it_is_released(
    site: SiteOpener, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def held() -> None:
        async with site(lambda request: WHOLE) as server, _pool(server.url) as (pool, request):
            kept = await pool.connect()
            pool.hold(is_held=True)
            replies = [Heard(), Heard()]
            for connection, heard in zip((kept, await pool.connect()), replies, strict=True):
                connection.start(request, heard)
                await asyncio.wait_for(server.arrivals.get(), WAIT_S)
            await asyncio.sleep(0)
            assert [heard.said for heard in replies] == [[], []]
            pool.hold(is_held=False)
            for heard in replies:
                await asyncio.wait_for(heard.over.wait(), WAIT_S)
                assert heard.said[-1] in {"end", "whole {}"}

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(held())


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _stream(*events: bytes) -> bytes:
    return STREAM + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (*events, b""))


async def test_the_messages_of_a_stream_that_is_known_come_whole(site: SiteOpener) -> None:
    streams = iter(
        [_stream(b"data: 1\n\n"), _stream(b"data: 2\n\n", b"data: 3\n\n"), _stream(b"data: 4\n\n:\n\n")]
    )
    async with site(lambda request: next(streams)) as server, _pool(server.url) as (pool, request):
        assert await _ask(pool, request) == ["head 200", "body data: 1\n\n", "end"]
        assert await _ask(pool, request) == ["head 200", "message 2", "message 3", "end"]
        assert await _ask(pool, request) == ["head 200", "body data: 4\n\n:\n\n", "end"]
        assert server.connections == 1


async def test_the_head_of_a_known_stream_is_judged_each_time(site: SiteOpener) -> None:
    async with site(lambda request: _stream(b"data: 1\n\n")) as server, _pool(server.url) as (pool, request):
        await _ask(pool, request)
        assert await _ask(pool, request, refuses=True) == ["head 200", "plugin_protocol"]
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)


LARGE = b"x" * (2 * LARGE_BODY_BYTES)
LARGE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(LARGE)


@pytest.mark.parametrize("cut", [1, 100, LARGE_BODY_BYTES, len(LARGE) - 1])
async def test_a_large_body_is_whole_however_it_is_cut(site: SiteOpener, cut: int) -> None:
    pieces = iter([LARGE_HEAD + b"\r\n" + LARGE[:cut], LARGE[cut:], WHOLE])
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        connection = await pool.connect()
        heard = Heard()
        connection.start(b"", heard)
        for piece in (next(pieces), next(pieces)):
            _arrive(connection, piece)
        assert heard.said == ["head 200", f"body {LARGE.decode()}", "end"]
        assert pool.kept_bytes == len(LARGE), "its buffer is there for the next one"
        assert pool.take() is connection
        again = Heard()
        connection.start(b"", again)
        _arrive(connection, next(pieces))
        assert again.said == ["head 200", "body {}", "end"]


async def test_a_large_body_that_ends_early_is_a_loss(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        connection, heard = await pool.connect(), Heard()
        connection.start(b"", heard)
        _arrive(connection, LARGE_HEAD + b"\r\n" + LARGE[:5])
        _arrive(connection, LARGE[5:-1])
        connection.abort()
        async with asyncio.timeout(WAIT_S):
            await heard.over.wait()
        assert heard.said == ["head 200", "plugin_exited"]
        assert pool.kept_bytes == len(LARGE)


async def test_a_shorter_large_body_has_nothing_of_the_one_before(site: SiteOpener) -> None:
    shorter = b"y" * (LARGE_BODY_BYTES + 1)
    head = LARGE_HEAD.replace(b"%d" % len(LARGE), b"%d" % len(shorter))
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        connection = await pool.connect()
        for begun, body in ((LARGE_HEAD, LARGE), (head, shorter)):
            heard = Heard()
            connection.start(b"", heard)
            _arrive(connection, begun + b"\r\n" + body[:5])
            _arrive(connection, body[5:])
            assert heard.said == ["head 200", f"body {body.decode()}", "end"]
            assert pool.take() is connection


class Keeper(Heard):
    """Looks at large bodies for longer than it hears of them."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[bytes | memoryview] = []

    def take_body(self, data: bytes | memoryview) -> int:
        self.views.append(data)
        return 0


@pytest.mark.threat("T-CROSS")
async def test_a_large_body_that_somebody_looks_at_is_not_written_over_by_the_next(site: SiteOpener) -> None:
    bodies = [bytes([number]) * (len(LARGE) - number) for number in range(4)]
    views: list[bytes | memoryview] = []
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        connection = await pool.connect()
        for body in bodies:
            heard = Keeper()
            connection.start(b"", heard)
            head = LARGE_HEAD.replace(b"%d" % len(LARGE), b"%d" % len(body))
            _arrive(connection, head + b"\r\n" + body[:5])
            _arrive(connection, body[5:])
            assert pool.take() is connection
            views += heard.views
        assert views == bodies


async def test_what_follows_a_large_body_is_an_answer_nobody_asked_for(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        connection, heard = await pool.connect(), Heard()
        connection.start(b"", heard)
        _arrive(connection, LARGE_HEAD + b"\r\n" + LARGE[:5])
        _arrive(connection, LARGE[5:] + WHOLE)
        assert heard.said[-1] == "end"
        assert not connection.is_open


async def test_a_large_body_whose_head_the_reply_refuses_is_not_awaited(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        for _ in range(2):  # the second time its head is known
            connection, heard = await pool.connect(), Heard(refuses=True)
            connection.start(b"", heard)
            _arrive(connection, LARGE_HEAD + b"\r\n" + LARGE[:5])
            assert heard.said == ["head 200", "plugin_protocol"]
            assert not connection.is_open


async def test_large_bodies_with_a_known_head_cost_no_parser_and_are_told_apart(site: SiteOpener) -> None:
    bodies = [bytes([letter]) * len(LARGE) for letter in b"xyz"]
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE)) as (pool, _):
        connection = await pool.connect()
        for body, cut in zip(bodies, (1, 5, 0), strict=True):
            assert (pool.known.begun_of(LARGE_HEAD + b"\r\n") is None) == (body is bodies[0])
            heard = Heard()
            connection.start(b"", heard)
            for piece in (LARGE_HEAD + b"\r\n" + body[:cut], body[cut:-1], body[-1:]):
                _arrive(connection, piece)
            assert heard.said == ["head 200", f"body {body.decode()}", "end"]
            assert pool.take() is connection
        heard = Heard()
        connection.start(b"", heard)
        _arrive(connection, LARGE_HEAD + b"\r\n" + LARGE[:5])
        connection.abort()
        async with asyncio.timeout(WAIT_S):
            await heard.over.wait()
        assert heard.said == ["head 200", "plugin_exited"], "one that ends early is a loss"


async def test_a_body_beyond_the_limit_is_refused_however_often_it_begins(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE) - 1) as (pool, _):
        for _ in range(2):
            connection, heard = await pool.connect(), Heard()
            connection.start(b"", heard)
            _arrive(connection, LARGE_HEAD + b"\r\n" + LARGE[:5])
            assert heard.said[-1] not in ("end", "head 200")
            assert not connection.is_open
        assert not connection.is_open


class Hoarder(Heard):
    """Keeps what it hears until all is there."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0

    def take_body(self, data: bytes | memoryview) -> int:
        self._size += len(data)
        return 0 if isinstance(data, memoryview) else self._size


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = len(LARGE) // 2
# What begins an answer, and what ends it.
FORMS = {
    "stated": (LARGE_HEAD + b"\r\n" + LARGE[:5], LARGE[5:]),
    "chunked": (CHUNKED_HEAD + b"%x\r\n%b\r\n" % (HALF, LARGE[:HALF]), b"0\r\n\r\n"),
    "refused": (LARGE_HEAD.replace(b"200", b"500") + b"\r\n" + LARGE[:HALF], LARGE[HALF:]),
}


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("form", FORMS)
async def test_answers_that_a_server_does_not_end_are_bounded_together(site: SiteOpener, form: str) -> None:
    begun, rest = FORMS[form]
    unfinished = Unfinished(len(LARGE))
    async with site(lambda request: b"") as server, _pool(server.url, len(LARGE), unfinished) as (pool, _):
        connections = [await pool.connect() for _ in range(4)]
        several = [Hoarder() for _ in connections]
        for connection, heard in zip(connections, several, strict=True):
            connection.start(b"", heard)
            _arrive(connection, begun)
        is_refused = [heard.said[-1:] == ["busy"] for heard in several]
        assert is_refused[0] is False
        assert is_refused[-1] is True
        assert 0 < unfinished.size <= len(LARGE)
        assert [connection.is_open for connection in connections] == [not one for one in is_refused]
        for connection, heard, refused in zip(connections, several, is_refused, strict=True):
            if not refused:
                _arrive(connection, rest)
                assert heard.said[-1] == "end"
        assert unfinished.size == 0
        for end in ("lost", "complete"):  # there is room again, also after one that was lost
            again, heard = await pool.connect(), Hoarder()
            again.start(b"", heard)
            _arrive(again, begun)
            assert unfinished.size > 0
            if end == "lost":
                again.abort()
                async with asyncio.timeout(WAIT_S):
                    await heard.over.wait()
            else:
                _arrive(again, rest)
            assert unfinished.size == 0


def _arrive(connection: Connection, data: bytes) -> None:
    """As the loop does it: no more at once than there is room for."""
    while data:
        buffer = connection.get_buffer(-1)
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        connection.buffer_updated(count)
