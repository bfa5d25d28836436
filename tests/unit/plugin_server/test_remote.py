"""A plugin that lives at a URL, from the handshake to the farewell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server import Reach, connect_url
from sekisho.plugin_server.listing import list_surface
from sekisho.plugin_server.opening import EraMemory, ask, handshake, open_session
from sekisho.plugin_server.remote import Remote
from sekisho.plugin_server.unfinished import Unfinished
from sekisho.protocol import HttpRequest, JsonLimits, response_bytes

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import SiteOpener

WAIT_S = 5.0
LIMITS = JsonLimits(max_bytes=1 << 16)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Json = dict[str, Any]
TOOL = {
    "name": "echo",
    "inputSchema": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
}


def event(data: object, *fields: str) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    said = "".join(f"{one}\n" for one in (*fields, f"data: {text}")) + "\n"
    return b"%x\r\n%b\r\n" % (len(said.encode()), said.encode())


class Legacy:
    """A legacy server with sessions; what a tool call answers is the test's."""

    def __init__(self) -> None:
        self.sessions = iter(["s1", "s2", "s3"])
        self.valid: set[str] = set()
        self.call: Callable[[Json], bytes] = lambda message: self.result(message, {"content": []})
        self.get: Callable[[HttpRequest], bytes] = lambda request: response_bytes(405, b"")
        self.version = "2025-06-18"

    @staticmethod
    def result(message: Json, result: object) -> bytes:
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        return response_bytes(200, json.dumps(answer).encode())

    def __call__(self, request: HttpRequest) -> bytes:
        session = request.headers.get("mcp-session-id")
        if request.method == "DELETE":
            self.valid.discard(session or "")
            return response_bytes(204, b"")
        if request.method == "GET":
            return self.get(request)
        message = json.loads(request.body)
        match message.get("method"):
            case "server/discover":
                return response_bytes(
                    400, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"?"}}'
                )
            case "initialize":
                given = next(self.sessions)
                self.valid.add(given)
                opened = {
                    "protocolVersion": self.version,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "remote"},
                }
                whole = self.result(message, opened)
                return whole.replace(b"\r\n\r\n", b"\r\nMcp-Session-Id: %b\r\n\r\n" % given.encode(), 1)
        if session not in self.valid:
            return response_bytes(404, b"")
        if "id" not in message or "method" not in message:
            return response_bytes(202, b"")
        if message["method"] == "tools/list":
            return self.result(message, {"tools": [TOOL]})
        return self.call(message)


async def _call(remote: Remote) -> Json:
    call: Json = {"name": "echo", "arguments": {}}
    return dict(json.loads(await ask(remote.session, "tools/call", call, WAIT_S)))


@pytest.mark.requirement("A3.1")
async def test_a_legacy_server_is_a_plugin_like_any_other(site: SiteOpener) -> None:
    legacy = Legacy()
    async with site(legacy) as server:
        async with connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None) as remote:
            surface = await list_surface(
                remote.session, await open_session(remote.session, EraMemory(), WAIT_S), WAIT_S
            )
            assert len(surface.tools) == 1
            assert await _call(remote) == {"content": []}
            await remote.kill()
            await remote.kill()
            assert (await asyncio.wait_for(remote.ended(), WAIT_S)).code == "plugin_exited"
        said = [
            json.loads(request.body).get("method") if request.body else request.method
            for request in server.requests
        ]
        assert said[:3] == ["server/discover", "initialize", "notifications/initialized"]
        assert sorted(said[3:6]) == [
            "GET",
            "tools/call",
            "tools/list",
        ]  # the stream is opened beside the others
        assert said[6:] == ["DELETE"]
        later = server.requests[2:]
        assert {request.headers["mcp-session-id"] for request in later} == {"s1"}
        assert {request.headers["mcp-protocol-version"] for request in later} == {"2025-06-18"}
        assert legacy.valid == set()


async def test_a_session_that_the_server_forgot_is_opened_anew_and_the_call_is_sent_again(
    site: SiteOpener,
) -> None:
    legacy = Legacy()
    changes: asyncio.Queue[None] = asyncio.Queue()
    async with (
        site(legacy) as server,
        connect_url(
            url=server.url, limits=LIMITS, on_list_changed=lambda: changes.put_nowait(None)
        ) as remote,
    ):
        await handshake(remote.session, WAIT_S)
        await _call(remote)
        asked_again: list[str] = []
        remote.session.on_reopened = lambda: asked_again.append(max(legacy.valid))
        legacy.valid.clear()
        results = await asyncio.gather(_call(remote), _call(remote))
        assert list(results) == [{"content": []}] * 2
        await asyncio.wait_for(changes.get(), WAIT_S)
        assert legacy.valid == {"s2"}
        assert asked_again == ["s2"]


@pytest.mark.threat("T-HANG")
async def test_a_server_that_forgets_every_session_is_not_asked_for_ever(site: SiteOpener) -> None:
    legacy = Legacy()
    async with (
        site(legacy) as server,
        connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None) as remote,
    ):
        await handshake(remote.session, WAIT_S)
        legacy.call = lambda message: response_bytes(404, b"")
        with pytest.raises(SekishoError) as caught:
            await _call(remote)
        assert caught.value.code == "plugin_protocol"
        assert [json.loads(one.body)["method"] for one in server.requests if one.body].count(
            "initialize"
        ) == 2


@pytest.mark.threat("T-RUGPULL")
async def test_a_server_that_comes_back_with_another_version_ends_the_life(site: SiteOpener) -> None:
    legacy = Legacy()
    async with (
        site(legacy) as server,
        connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None) as remote,
    ):
        await handshake(remote.session, WAIT_S)
        legacy.valid.clear()
        legacy.version = "2025-03-26"
        with pytest.raises(SekishoError):
            await _call(remote)
        assert (await asyncio.wait_for(remote.ended(), WAIT_S)).code == "plugin_protocol"


async def test_a_stream_that_breaks_off_is_resumed_after_the_pause_it_asked_for(site: SiteOpener) -> None:
    legacy = Legacy()
    asked: list[Json] = []

    def call(message: Json) -> bytes:
        asked.append(message)
        return STREAM_HEAD + event("", "id: e-1", "retry: 100") + b"0\r\n\r\n"

    def get(request: HttpRequest) -> bytes:
        if request.headers.get("last-event-id") != "e-1":
            return response_bytes(405, b"")
        answer = {"jsonrpc": "2.0", "id": asked[0]["id"], "result": {"late": True}}
        return STREAM_HEAD + event(answer, "id: e-2") + b"0\r\n\r\n"

    legacy.call, legacy.get = call, get
    async with (
        site(legacy) as server,
        connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None) as remote,
    ):
        await handshake(remote.session, WAIT_S)
        assert await _call(remote) == {"late": True}
        assert len(asked) == 1


@pytest.mark.threat("T-HANG")
async def test_a_stream_that_ends_without_an_event_id_fails_its_call(site: SiteOpener) -> None:
    legacy = Legacy()
    legacy.call = lambda message: STREAM_HEAD + event("", "retry: 100") + b"0\r\n\r\n"
    async with (
        site(legacy) as server,
        connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None) as remote,
    ):
        await handshake(remote.session, WAIT_S)
        with pytest.raises(SekishoError) as caught:
            await _call(remote)
        assert caught.value.code == "plugin_protocol"


async def test_what_belongs_to_no_call_is_heard_on_a_stream_of_its_own(site: SiteOpener) -> None:
    legacy = Legacy()
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    legacy.get = lambda request: STREAM_HEAD + b"2\r\n:\n\r\n" + event(changed, "event: message")
    changes: asyncio.Queue[None] = asyncio.Queue()
    async with (
        site(legacy) as server,
        connect_url(
            url=server.url, limits=LIMITS, on_list_changed=lambda: changes.put_nowait(None)
        ) as remote,
    ):
        await handshake(remote.session, WAIT_S)
        await asyncio.wait_for(changes.get(), WAIT_S)


def _modern(request: HttpRequest) -> bytes:
    message = json.loads(request.body)
    results: Json = {
        "server/discover": {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
        },
        "tools/list": {"resultType": "complete", "tools": [TOOL]},
        "tools/call": {"resultType": "complete", "content": []},
    }
    return Legacy.result(message, results[message["method"]])


async def test_a_modern_server_gets_headers_that_repeat_the_message_and_no_session(site: SiteOpener) -> None:
    async with site(_modern) as server:
        async with connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None) as remote:
            await list_surface(
                remote.session, await open_session(remote.session, EraMemory(), WAIT_S), WAIT_S
            )
            call: Json = {"name": "echo", "arguments": {"region": "eu"}}
            await ask(remote.session, "tools/call", call, WAIT_S)
        last = server.requests[-1].headers
        assert last["mcp-protocol-version"] == "2026-07-28"
        assert (last["mcp-method"], last["mcp-name"], last["mcp-param-region"]) == (
            "tools/call",
            "echo",
            "eu",
        )
        assert {request.method for request in server.requests} == {"POST"}


class OldServer:
    """A server of 2024-11-05: a stream, and an address for messages."""

    def __init__(self, endpoint: str = "/messages?s=1") -> None:
        self.endpoint = endpoint
        self.streams: list[asyncio.StreamWriter] = []
        self.posted: list[str] = []
        self.closed = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                lengths = [int(line[15:]) for line in lines if line.lower().startswith("content-length:")]
                body = await reader.readexactly(lengths[0] if lengths else 0)
                self._answer(first, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            if writer in self.streams:
                self.closed.set()

    def _answer(self, first: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, target, _ = first.split(" ")
        if method == "GET":
            writer.write(STREAM_HEAD + event(self.endpoint, "event: endpoint"))
            self.streams.append(writer)
            return
        if target == "/sse":
            writer.write(response_bytes(405, b"no"))
            return
        self.posted.append(target)
        writer.write(response_bytes(202, b"Accepted", content_type="text/plain"))
        message = json.loads(body)
        if "id" in message:
            results: Json = {
                "initialize": {
                    "protocolVersion": "2024-11-05",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "old"},
                },
                "tools/list": {"tools": [TOOL]},
                "tools/call": {"content": []},
            }
            result = results[message["method"]]
            self.streams[0].write(event({"jsonrpc": "2.0", "id": message["id"], "result": result}))


async def _with_old(old: OldServer, talk: Callable[[Remote], Any]) -> None:
    server = await asyncio.start_server(old.serve, "127.0.0.1", 0)
    old.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sse"
    try:
        async with connect_url(url=old.url, limits=LIMITS, on_list_changed=lambda: None) as remote:
            await talk(remote)
        await asyncio.wait_for(old.closed.wait(), WAIT_S)
    finally:
        server.close()


async def test_a_server_of_the_older_transport_is_found_and_used() -> None:
    old = OldServer()

    async def talk(remote: Remote) -> None:
        surface = await list_surface(
            remote.session, await open_session(remote.session, EraMemory(), WAIT_S), WAIT_S
        )
        assert len(surface.tools) == 1
        assert await _call(remote) == {"content": []}
        old.streams[0].close()
        assert (await asyncio.wait_for(remote.ended(), WAIT_S)).code == "plugin_exited"

    await _with_old(old, talk)
    assert set(old.posted) == {"/messages?s=1"}


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1/steal", "//evil.example.org/m", "https://127.0.0.1/m"]
)
async def test_an_endpoint_of_another_origin_gets_nothing(endpoint: str) -> None:
    old = OldServer(endpoint)

    async def talk(remote: Remote) -> None:
        with pytest.raises(SekishoError):
            await open_session(remote.session, EraMemory(), WAIT_S)

    await _with_old(old, talk)
    assert old.posted == []


async def test_credentials_are_prepared_before_the_first_request(site: SiteOpener) -> None:
    class Prepared:
        token = ""
        problem: SekishoError | None = None

        def headers(self, method: str, url: str) -> tuple[tuple[str, str], ...]:
            return (("Authorization", f"Bearer {self.token}"),)

        async def prepare(self) -> None:
            self.token = "mine"

        async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
            return False

    async with site(_modern) as server:
        reach = Reach(authoriser=Prepared())
        async with connect_url(
            url=server.url, limits=LIMITS, on_list_changed=lambda: None, reach=reach
        ) as remote:
            await open_session(remote.session, EraMemory(), WAIT_S)
        assert server.requests[0].headers["authorization"] == "Bearer mine"


@pytest.mark.threat("T-FLOOD")
async def test_sessions_with_one_server_share_what_it_may_leave_unfinished(site: SiteOpener) -> None:
    legacy, reach = Legacy(), Reach(unfinished=Unfinished(1000))
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1500\r\n\r\n" + b" " * 600
    legacy.sessions = iter(["s1", "s2"])
    legacy.call = lambda message: begun
    async with (
        site(legacy) as server,
        connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None, reach=reach) as one,
        connect_url(url=server.url, limits=LIMITS, on_list_changed=lambda: None, reach=reach) as other,
    ):
        for remote in (one, other):
            await open_session(remote.session, EraMemory(), WAIT_S)
        waiting = asyncio.ensure_future(_call(one))
        async with asyncio.timeout(60):
            while reach.unfinished.size != 600:  # noqa: ASYNC110  # nobody is told of it
                await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="does not end"):
            await _call(other)
        waiting.cancel()
