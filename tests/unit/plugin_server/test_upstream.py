from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server import Site, StaticHeaders, Upstream, http_pool, reply, upstream
from sekisho.protocol import HttpRequest, response_bytes

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import SiteOpener

WAIT_S = 5.0
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}'
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
MAX_BODY_BYTES = 4096


class Caller:
    """An `Upstream`, and what came of its requests, in order."""

    def __init__(self, url: str, **options: object) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.failures: asyncio.Queue[tuple[int | str, SekishoError]] = asyncio.Queue()
        self.of: list[int | None] = []
        self.is_answered = False
        self.upstream = Upstream(
            Site.parse(url),
            hearer=self,
            max_body_bytes=MAX_BODY_BYTES,
            **options,  # type: ignore[arg-type]  # the options of one test each
        )

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        for line in lines:
            self.receive(line, of)

    def receive(self, line: bytes, of: int | None = None) -> None:
        self.of.append(of)
        self.messages.put_nowait(line)

    def receive_large(self, place: memoryview, size: int) -> bool:
        return False

    def is_waiting(self, ident: int | str) -> bool:
        return not self.is_answered

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        self.failures.put_nowait((ident, error))

    def fail_all(self, error: SekishoError) -> None:
        self.fail_one(1, error)

    async def message(self) -> bytes:
        return await asyncio.wait_for(self.messages.get(), WAIT_S)

    async def failure(self) -> SekishoError:
        ident, error = await asyncio.wait_for(self.failures.get(), WAIT_S)
        assert ident == 1
        return error

    async def ask(self) -> bytes:
        """One request with an answer; returns when its response has ended."""
        self.upstream.send(REQUEST)
        answer = await self.message()
        await self.failure()  # says that the response ended; whoever was answered ignores it
        return answer


def _json(request: HttpRequest) -> bytes:
    return response_bytes(200, ANSWER)


def _sse(*messages: bytes) -> bytes:
    body = b"".join(b"event: message\ndata: " + message + b"\n\n" for message in messages)
    return response_bytes(200, body, content_type="text/event-stream")


@asynccontextmanager
async def _serving(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The URL of a server that talks so on its one connection; leaving waits for the client to close it."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()
            closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.wait_for(closed.wait(), WAIT_S)
    finally:
        server.close()


@pytest.mark.requirement("B7")
async def test_an_answer_as_json_arrives(site: SiteOpener) -> None:
    async with site(_json) as server:
        caller = Caller(server.url)
        assert await caller.ask() == ANSWER
        [request] = server.requests
        assert (request.method, request.target, request.body) == ("POST", "/mcp", REQUEST)
        assert request.headers["accept"] == "application/json, text/event-stream"
        await caller.upstream.close()


async def test_an_answer_as_event_stream_arrives_with_what_stands_before_it(site: SiteOpener) -> None:
    progress = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'
    async with site(lambda request: _sse(progress, ANSWER)) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert [await caller.message(), await caller.message()] == [progress, ANSWER]
        await caller.upstream.close()


async def test_events_are_handed_on_as_they_come(site: SiteOpener) -> None:
    answering: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        answering.set_result(writer)

    def event(data: bytes) -> bytes:
        piece = b"data: " + data + b"\n\n"
        return b"%x\r\n" % len(piece) + piece + b"\r\n"

    async with _serving(talk) as url:
        caller = Caller(url)
        caller.upstream.send(REQUEST)
        writer = await asyncio.wait_for(answering, WAIT_S)
        for number in range(3):  # the next one is written only after this one has arrived
            note = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":%d}}' % number
            writer.write(event(note))
            assert await caller.message() == note
        writer.write(event(ANSWER) + b"0\r\n\r\n")
        assert await caller.message() == ANSWER
        await caller.failure()  # says that the response ended
        await caller.upstream.close()


async def test_an_answer_in_pieces_and_one_in_one_piece_are_the_same(site: SiteOpener) -> None:
    async with site(_json) as server:
        caller = Caller(server.url)
        assert [await caller.ask() for _ in range(3)] == [ANSWER] * 3
        server.reply = lambda request: response_bytes(200, b" " + ANSWER)
        assert [await caller.ask() for _ in range(3)] == [b" " + ANSWER] * 3
        assert server.connections == 1
        await caller.upstream.close()


@pytest.mark.threat("T-GARBAGE")
async def test_the_end_of_a_broken_head_is_never_taken_for_a_head() -> None:
    """What completes a head in a second read must not be accepted at the start of the next answer."""
    whole = response_bytes(200, ANSWER)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pieces in ((whole[:7], whole[7:]), (whole[7:],)):
            await reader.readuntil(REQUEST)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.02)  # so that the pieces are two reads; nothing depends on it

    async with _serving(talk) as url:
        caller = Caller(url)
        assert await caller.ask() == ANSWER
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_protocol"
        assert caller.messages.empty()
        await caller.upstream.close()


async def test_no_error_is_made_for_a_request_that_was_answered(site: SiteOpener) -> None:
    async with site(_json) as server:
        caller = Caller(server.url)
        caller.is_answered = True
        for _ in range(3):
            caller.upstream.send(REQUEST)
            assert await caller.message() == ANSWER
        assert caller.failures.empty()
        await caller.upstream.close()


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    site: SiteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(_json) as server:
        caller = Caller(server.url)
        await caller.ask()
        monkeypatch.setattr(http_pool, "KEEP_S", 0.0)
        assert await caller.ask() == ANSWER
        assert server.connections == 2
        await caller.upstream.close()


async def test_a_new_session_is_used_even_when_the_old_head_comes_again(site: SiteOpener) -> None:
    sessions = iter(["a", "a", "b", "a", "a"])
    async with site(
        lambda request: response_bytes(200, ANSWER, headers=[("Mcp-Session-Id", next(sessions))])
    ) as server:
        caller = Caller(server.url)
        for _ in range(5):
            await caller.ask()
        sent = [request.headers.get("mcp-session-id") for request in server.requests]
        assert sent == [None, "a", "a", "b", "a"]
        await caller.upstream.close()


async def test_a_notification_waits_for_no_answer(site: SiteOpener) -> None:
    async with site(lambda request: response_bytes(202, b"")) as server:
        caller = Caller(server.url)
        caller.upstream.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        await asyncio.wait_for(server.arrivals.get(), WAIT_S)
        caller.upstream.send(b'{"jsonrpc":"2.0","id":"p","result":{}}')
        await asyncio.wait_for(server.arrivals.get(), WAIT_S)
        assert caller.failures.empty()
        await caller.upstream.close()


async def test_a_connection_is_kept_and_a_call_costs_exactly_one_request(site: SiteOpener) -> None:
    async with site(_json) as server:
        caller = Caller(server.url)
        for _ in range(5):
            await caller.ask()
        assert (server.connections, len(server.requests)) == (1, 5)
        await caller.upstream.close()


async def test_calls_at_the_same_time_do_not_wait_for_each_other(site: SiteOpener) -> None:
    async with site(_json) as server:
        caller = Caller(server.url)
        for _ in range(3):
            caller.upstream.send(REQUEST)
        for _ in range(3):
            assert await caller.message() == ANSWER
        assert server.connections == 3
        await caller.upstream.close()


def _quiet(request: HttpRequest) -> bytes:
    """A legacy server: it takes notifications, and has no stream of its own."""
    if request.method == "GET":
        return response_bytes(405, b"")
    return _json(request) if b'"id":' in request.body else response_bytes(202, b"")


async def test_a_call_whose_id_is_told_goes_as_any_other_and_waits_for_the_session(site: SiteOpener) -> None:
    opened = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    async with site(_quiet) as server:
        caller = Caller(server.url)
        caller.upstream.use_version("2025-11-25")
        caller.upstream.send(opened)
        caller.upstream.send(REQUEST, 1, b"what such calls have in common")
        assert await caller.message() == ANSWER
        assert [request.body for request in server.requests][:2] == [opened, REQUEST]
        assert caller.of == [1]
        caller.upstream.send(REQUEST, 1, b"what such calls have in common")
        assert await caller.message() == ANSWER
        await caller.upstream.close()


async def test_a_body_that_lasts_until_the_connection_closes_is_read(site: SiteOpener) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    async with site(lambda request: head + ANSWER) as server:
        server.closes_after_reply = True
        caller = Caller(server.url)
        assert await caller.ask() == ANSWER
        await caller.upstream.close()


async def test_a_body_that_ends_early_is_no_answer(site: SiteOpener) -> None:
    async with site(lambda request: response_bytes(200, ANSWER)[:-5]) as server:
        server.closes_after_reply = True
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_exited"
        assert caller.messages.empty()
        await caller.upstream.close()


async def test_a_lost_connection_fails_its_call_and_the_next_one_connects_anew(site: SiteOpener) -> None:
    replies = iter((None, response_bytes(200, ANSWER)))
    async with site(lambda request: next(replies)) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_exited"
        assert await caller.ask() == ANSWER
        assert server.connections == 2
        await caller.upstream.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "plugin_protocol"),
        (404, "plugin_protocol"),
        (401, "plugin_unavailable"),
        (403, "plugin_unavailable"),
        (429, "plugin_unavailable"),
        (500, "plugin_unavailable"),
        (503, "plugin_unavailable"),
    ],
)
async def test_an_http_error_fails_the_call(site: SiteOpener, status: int, code: str) -> None:
    async with site(lambda request: response_bytes(status, b"no", content_type="text/plain")) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        error = await caller.failure()
        assert error.code == code
        assert str(status) in error.message
        assert len(server.requests) == 1
        await caller.upstream.close()


@pytest.mark.parametrize("ident", [b'"server-error"', b"null", b"1"])
async def test_a_refusal_that_is_a_json_rpc_error_is_the_answer(site: SiteOpener, ident: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"what?"}}' % ident
    async with site(lambda request: response_bytes(404, body)) as server:
        caller = Caller(server.url)
        assert json.loads(await caller.ask()) == json.loads(body) | {"id": 1}
        await caller.upstream.close()


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(site: SiteOpener, status: int) -> None:
    async with site(_json) as elsewhere:
        away = response_bytes(status, b"", headers=[("Location", elsewhere.url)])
        async with site(lambda request: away) as server:
            caller = Caller(server.url, authoriser=StaticHeaders({"Authorization": "Bearer mine"}))
            caller.upstream.send(REQUEST)
            error = await caller.failure()
            assert (error.code, elsewhere.requests) == ("plugin_protocol", [])
            await caller.upstream.close()


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("kind", ["text/html", "application/jsonp", "text/plain; application/json"])
async def test_another_media_type_is_no_answer(site: SiteOpener, kind: str) -> None:
    async with site(lambda request: response_bytes(200, ANSWER, content_type=kind)) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_protocol"
        assert caller.messages.empty()
        await caller.upstream.close()


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_json_however_it_is_spelled(site: SiteOpener, kind: str) -> None:
    async with site(lambda request: response_bytes(200, ANSWER, content_type=kind)) as server:
        caller = Caller(server.url)
        assert await caller.ask() == ANSWER
        await caller.upstream.close()


@pytest.mark.threat("T-GARBAGE")
async def test_a_coded_body_is_refused(site: SiteOpener) -> None:
    reply = response_bytes(200, ANSWER, headers=[("Content-Encoding", "gzip")])
    async with site(lambda request: reply) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_protocol"
        await caller.upstream.close()


@pytest.mark.threat("T-HANG")
async def test_a_response_without_an_answer_fails_the_call_at_once(site: SiteOpener) -> None:
    async with site(lambda request: response_bytes(202, b"")) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert "without an answer" in (await caller.failure()).message
        await caller.upstream.close()


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "plugin_protocol"),
        (response_bytes(200, b"x" * (MAX_BODY_BYTES + 1)), "result_too_large"),
        (_sse(b"x" * (MAX_BODY_BYTES + 1)), "result_too_large"),
    ],
)
async def test_garbage_and_oversize_fail_the_call_and_end_the_connection(
    site: SiteOpener, reply: bytes, code: str
) -> None:
    async with site(lambda request: reply) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == code
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        await caller.upstream.close()


@pytest.mark.threat("T-GARBAGE")
async def test_a_second_response_to_one_request_is_dropped_with_its_connection(site: SiteOpener) -> None:
    async with site(lambda request: response_bytes(200, ANSWER) * 2) as server:
        caller = Caller(server.url)
        assert await caller.ask() == ANSWER
        assert caller.messages.empty()
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        assert await caller.ask() == ANSWER
        assert server.connections == 2
        await caller.upstream.close()


async def test_a_server_that_does_not_listen_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        caller = Caller(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_unavailable"
        await caller.upstream.close()


async def test_session_and_version_are_repeated_and_nothing_of_the_caller_is(site: SiteOpener) -> None:
    async with site(
        lambda request: response_bytes(200, ANSWER, headers=[("Mcp-Session-Id", "s-1")])
    ) as server:
        caller = Caller(server.url)
        await caller.ask()
        caller.upstream.use_version("2025-11-25")
        await caller.ask()
        first, second = server.requests
        assert set(first.headers) == {"host", "content-length", "content-type", "accept"}
        assert second.headers["mcp-session-id"] == "s-1"
        assert second.headers["mcp-protocol-version"] == "2025-11-25"
        assert "authorization" not in second.headers
        await caller.upstream.close()


@pytest.mark.threat("T-GARBAGE")
async def test_a_session_id_that_could_not_be_sent_back_is_not_taken(site: SiteOpener) -> None:
    reply = response_bytes(200, ANSWER).replace(b"\r\n\r\n", b"\r\nMcp-Session-Id: \xe9\r\n\r\n", 1)
    async with site(lambda request: reply) as server:
        caller = Caller(server.url)
        await caller.ask()
        await caller.ask()
        assert "mcp-session-id" not in server.requests[1].headers
        await caller.upstream.close()


async def test_a_withdrawn_request_is_a_closed_stream(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        await asyncio.wait_for(server.arrivals.get(), WAIT_S)
        caller.upstream.withdraw(1)
        caller.upstream.withdraw(1)
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        assert caller.failures.empty()
        await caller.upstream.close()


class Renewing:
    """Credentials that were renewed once they were refused, so often."""

    problem: SekishoError | None = None

    def __init__(self, times: int) -> None:
        self._left = times
        self.refusals: list[tuple[int, str, str]] = []
        self.token = 0

    def headers(self, method: str, url: str) -> Sequence[tuple[str, str]]:
        return (("Authorization", f"Bearer {self.token}"),)

    async def prepare(self) -> None:
        pass

    async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
        self.refusals.append((status, challenge, nonce))
        self._left -= 1
        self.token += 1
        return self._left >= 0


async def test_refused_credentials_are_renewed_and_the_request_is_sent_again(site: SiteOpener) -> None:
    def reply(request: HttpRequest) -> bytes:
        if request.headers["authorization"] == "Bearer 1":
            return response_bytes(200, ANSWER)
        return response_bytes(401, b"", headers=[("WWW-Authenticate", "Bearer x"), ("DPoP-Nonce", "n")])

    async with site(reply) as server:
        renewing = Renewing(1)
        caller = Caller(server.url, authoriser=renewing)
        assert await caller.ask() == ANSWER
        assert renewing.refusals == [(401, "Bearer x", "n")]
        assert [request.body for request in server.requests] == [REQUEST, REQUEST]
        await caller.upstream.close()


@pytest.mark.threat("T-HANG")
async def test_credentials_are_renewed_once_for_each_request(site: SiteOpener) -> None:
    async with site(lambda request: response_bytes(401, b"")) as server:
        renewing = Renewing(9)
        caller = Caller(server.url, authoriser=renewing)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_unavailable"
        assert (len(renewing.refusals), len(server.requests)) == (1, 2)
        await caller.upstream.close()


async def test_a_server_may_want_a_token_first_and_then_its_own_nonce(site: SiteOpener) -> None:
    def reply(request: HttpRequest) -> bytes:
        if request.headers["authorization"] == "Bearer 2":
            return response_bytes(200, ANSWER)
        return response_bytes(401, b"", headers=[("DPoP-Nonce", "n")])

    async with site(reply) as server:
        caller = Caller(server.url, authoriser=Renewing(2))
        assert await caller.ask() == ANSWER
        assert len(server.requests) == 3
        await caller.upstream.close()


async def test_the_reason_why_nobody_is_logged_in_reaches_the_call(site: SiteOpener) -> None:
    async with site(lambda request: response_bytes(401, b"")) as server:
        refused = Renewing(0)
        refused.problem = Unavailable("login_needed", "nobody has logged in")
        caller = Caller(server.url, authoriser=refused)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "login_needed"
        await caller.upstream.close()


@pytest.mark.threat("T-ORPHAN")
async def test_closing_ends_connections_that_still_wait_for_an_answer(site: SiteOpener) -> None:
    async with site(lambda request: b"") as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        await asyncio.wait_for(server.arrivals.get(), WAIT_S)
        await caller.upstream.close()
        assert (await caller.failure()).code == "plugin_exited"
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)


@pytest.mark.interpreted
@pytest.mark.threat("T-FLOOD")
async def test_a_stream_that_stays_open_behind_its_answer_is_closed(
    site: SiteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "LINGER_S", 0.01)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    async with site(lambda request: head + b"data: " + ANSWER + b"\n\n") as server:
        caller = Caller(server.url)
        caller.is_answered = True
        caller.upstream.send(REQUEST)
        assert await caller.message() == ANSWER
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        await caller.upstream.close()


@pytest.mark.interpreted
@pytest.mark.threat("T-FLOOD")
async def test_a_notification_that_is_never_taken_does_not_hold_its_connection(
    site: SiteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "NOTICE_TIMEOUT_S", 0.5)  # long enough to connect on a busy machine
    async with site(lambda request: b"") as server:
        caller = Caller(server.url)
        caller.upstream.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled"}')
        await asyncio.wait_for(server.arrivals.get(), WAIT_S)
        await asyncio.wait_for(server.all_closed.wait(), WAIT_S)
        assert caller.failures.empty()
        await caller.upstream.close()


@pytest.mark.interpreted
@pytest.mark.threat("T-HANG")
async def test_a_stream_without_news_is_resumed_a_bounded_number_of_times(
    site: SiteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply, "MAX_PAUSE_S", 0.01)
    event = b"id: e\nretry: 0\ndata:\n\n"

    def answer(request: HttpRequest) -> bytes:
        body = event if request.method == "POST" else b": nothing new\n\n"
        return response_bytes(200, body, content_type="text/event-stream")

    async with site(answer) as server:
        caller = Caller(server.url)
        caller.upstream.send(REQUEST)
        assert (await caller.failure()).code == "plugin_exited"
        assert [request.method for request in server.requests] == ["POST"] + ["GET"] * upstream.MAX_FRUITLESS
        assert {request.headers["last-event-id"] for request in server.requests[1:]} == {"e"}
        await caller.upstream.close()


@pytest.mark.interpreted
async def test_there_is_room_until_too_many_requests_are_under_way(
    site: SiteOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "MAX_BUSY", 1)
    async with site(_json) as server:
        caller = Caller(server.url)
        assert caller.upstream.has_room()
        caller.upstream.send(REQUEST)
        assert not caller.upstream.has_room()
        await caller.message()
        await caller.failure()
        assert caller.upstream.has_room()
        await caller.upstream.close()
