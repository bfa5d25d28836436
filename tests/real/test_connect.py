"""Clients that start a command: the official SDK, and bare lines, through a real `sekisho connect` to a real house."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp_types import ElicitRequestParams, ElicitResult
from tests.real.conftest import ECHO, ECHO_TOOLS, House, common, plugin, until

from sekisho import testing

pytestmark = pytest.mark.real

WAIT_S: Final = 30.0
STALL_S: Final = 2.0  # a write that waits so long is held up by who reads
MOST_KIB: Final = 120 << 10
FIXTURE: Final = Path(testing.__file__).parent / "conformance_server"
SEKISHO: Final = Path(sys.executable).with_name("sekisho")
TOOLS: Final = (
    *("test_simple_text", "test_tool_with_progress", "test_elicitation", "test_mirrored_header"),
    *("test_input_required_result_elicitation", "test_streaming_elicitation"),
)
MODES: Final = ("legacy", "2026-07-28")
META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def home(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a plugin of both eras and one that can be slow."""
    text = (
        common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin("fixture", FIXTURE, operations=TOOLS, more='client_requests = ["elicitation"]\n')
    )
    house = House(tmp_path_factory.mktemp("connect"), text)
    try:
        until(lambda: house.answers("echo__echo", text="a"), "the plugin serves")
        until(lambda: house.answers("fixture__test_simple_text"), "the fixture serves")
        yield house
    finally:
        house.stop()


def words(house: House, *more: str) -> list[str]:
    """The command a client starts."""
    places = ["--token-file", house.ready["token_file"], "--ca", house.ready["ca_file"]]
    return ["connect", "--url", house.url, *places, *more]


@asynccontextmanager
async def client_of(house: House, mode: str, *more: str, **options: Any) -> AsyncIterator[Client]:
    """The official client."""
    ours = StdioServerParameters(command=str(SEKISHO), args=words(house, *more), env=dict(os.environ))
    async with asyncio.timeout(WAIT_S), Client(ours, mode=mode, **options) as client:
        yield client


def text_of(result: Any) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


@pytest.mark.parametrize("mode", [*MODES, "auto"])
async def test_a_client_of_either_era_lists_and_calls(home: House, mode: str) -> None:
    async with client_of(home, mode) as client:
        assert "echo__add" in [tool.name for tool in (await client.list_tools()).tools]
        assert text_of(await client.call_tool("echo__echo", {"text": "through"})) == "through"


async def test_one_plugin_alone_has_its_own_names(home: House) -> None:
    async with client_of(home, "legacy", "--plugin", "echo") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == set(ECHO_TOOLS)
        assert text_of(await client.call_tool("echo", {"text": "bare"})) == "bare"


@pytest.mark.parametrize("mode", MODES)
async def test_progress_arrives_before_the_result(home: House, mode: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async with client_of(home, mode) as client:
        await client.call_tool("fixture__test_tool_with_progress", {}, progress_callback=hear)
    assert heard == [0, 50, 100]


@pytest.mark.parametrize("mode", MODES)
async def test_a_question_of_a_plugin_reaches_the_person(home: House, mode: str) -> None:
    asked: list[str] = []

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context
        asked.append(params.message)
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with client_of(home, mode, elicitation_callback=answer) as client:
        result = await client.call_tool("fixture__test_input_required_result_elicitation", {})
    assert len(asked) == 1
    assert "Ada" in text_of(result)


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_the_client_gives_up_ends_at_the_plugin(home: House, mode: str) -> None:
    before, calls = home.counted("cancelled"), sent(home)
    async with client_of(home, mode) as client:
        call = asyncio.get_running_loop().create_task(client.call_tool("echo__slow", {"seconds": 30}))
        await asyncio.to_thread(until, lambda: sent(home) > calls, "the plugin is called")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(until, lambda: home.counted("cancelled") > before, "it was withdrawn")
        assert text_of(await client.call_tool("echo__echo", {"text": "still here"})) == "still here"


@pytest.mark.parametrize("mode", MODES)
async def test_arguments_that_a_tool_wants_in_headers_are_there_without_a_list(
    home: House, mode: str
) -> None:
    async with client_of(home, mode) as client:
        result = await client.call_tool("fixture__test_mirrored_header", {"region": "eu"})
    assert not result.is_error


class Lines:
    """A client that writes bare lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def send(self, method: str, params: Any = None, ident: int | str | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        self.say(message if ident is None else {**message, "id": ident})

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            return dict(json.loads(await self.process.stdout.readline()))

    async def hear_all(self) -> list[dict[str, Any]]:
        """The answers of a batch."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            return list(json.loads(await self.process.stdout.readline()))

    async def ask(self, method: str, params: Any = None, ident: int | str = 1) -> dict[str, Any]:
        self.send(method, params, ident)
        return await self.hear()

    async def hello(self) -> None:
        info = {"name": "t", "version": "1"}
        await self.ask(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}, "hello"
        )
        self.send("notifications/initialized")

    async def call(self, tool: str, ident: int | str = 1, **arguments: Any) -> dict[str, Any]:
        return await self.ask("tools/call", {"name": tool, "arguments": arguments}, ident)


@asynccontextmanager
async def lines_to(house: House) -> AsyncIterator[Lines]:
    """A relay of our own."""
    process = await asyncio.create_subprocess_exec(
        str(SEKISHO),
        *words(house),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Lines(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def sent(house: House) -> int:
    """How many slow calls have been sent to the plugin."""
    return sum(one.get("tool") == "slow" and one["kind"] == "intent" for one in house.records())


async def test_a_gateway_that_restarts_fails_requests_and_serves_later_ones(home: House) -> None:
    async with lines_to(home) as client:
        await client.hello()
        assert "result" in await client.call("echo__echo", text="a")
        core = home.pid("core")
        os.kill(core, signal.SIGKILL)
        until(lambda: home.pid("core") != core, "the old core is gone")
        answer = await client.call("echo__echo", ident=2, text="b")
        while "error" in answer:
            assert answer["error"]["data"]["code"] in ("gateway_unavailable", "plugin_unavailable", "busy")
            answer = await client.call("echo__echo", ident=2, text="c")
        assert answer["result"]["content"][0]["text"] == "c"  # in the session of before: its ticket is sealed


async def test_the_relay_ends_with_its_client(home: House) -> None:
    async with lines_to(home) as client:
        await client.hello()
        client.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": META}, 7)
        assert (await client.hear())["method"] == "notifications/subscriptions/acknowledged"
        assert client.process.stdin is not None
        client.process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            assert await client.process.wait() == 0


async def test_a_withdrawn_listener_hears_nothing_more_and_leaves_room(home: House) -> None:
    async with lines_to(home) as client:
        params = {"notifications": {"toolsListChanged": True}, "_meta": META}
        for _ in range(3):
            acknowledged = await client.ask("subscriptions/listen", params, 7)
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            client.send("notifications/cancelled", {"requestId": 7, "_meta": META})
        answer = await client.ask(
            "tools/call", {"name": "echo__echo", "arguments": {"text": "a"}, "_meta": META}, 8
        )
        assert answer["id"] == 8
        assert answer["result"]["content"][0]["text"] == "a"


async def test_what_follows_initialize_at_once_waits_for_the_session(home: House) -> None:
    async with lines_to(home) as client:
        info = {"name": "t", "version": "1"}
        client.send(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}, 1
        )
        client.send("notifications/initialized")
        client.send("tools/call", {"name": "echo__echo", "arguments": {"text": "a"}}, 2)
        assert [(await client.hear())["id"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
async def test_a_batch_is_answered_together_where_its_revision_is_spoken(home: House, revision: str) -> None:
    members = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name, "arguments": {}}}
        for number, name in enumerate(("fixture__test_simple_text", "echo__gone"), start=1)
    ]
    async with lines_to(home) as client:
        info = {"name": "t", "version": "1"}
        await client.ask(
            "initialize", {"protocolVersion": revision, "capabilities": {}, "clientInfo": info}, 0
        )
        client.say([{"jsonrpc": "2.0", "method": "notifications/initialized"}, *members])
        if revision != "2025-03-26":
            assert (await client.hear())["error"]["data"]["code"] == "batch_refused"
            return
        first, second = await client.hear_all()
        assert (first["id"], second["id"]) == (1, 2)
        assert first["result"]["content"][0]["type"] == "text"
        assert second["error"]["data"]["code"] == "tool_unknown"


@pytest.mark.threat("T-FLOOD")
async def test_a_client_that_does_not_read_slows_the_gateway_and_fills_no_memory(tmp_path: Path) -> None:
    """The gateway here is a plain server that says more than a relay may hold."""
    news = {
        "jsonrpc": "2.0",
        "method": "notifications/message",
        "params": {"level": "info", "data": "x" * 65_000},
    }
    piece, count = b"data: %b\n\n" % json.dumps(news).encode(), 3000
    has_stalled = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if not request.startswith(b"POST"):
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for _ in range(count):
            writer.write(piece)
            drained = asyncio.ensure_future(writer.drain())
            if not (await asyncio.wait({drained}, timeout=STALL_S))[0]:
                has_stalled.set()
            await drained
        writer.write(b'data: {"jsonrpc":"2.0","id":1,"result":{}}\n\n')
        writer.close()

    (tmp_path / "token").write_text("sk-" + "a" * 43)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    words = ["connect", "--url", url, "--token-file", str(tmp_path / "token")]
    process = await asyncio.create_subprocess_exec(
        str(SEKISHO), *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20
    )
    try:
        client = Lines(process)
        client.send("tools/list", {"_meta": META}, 1)
        async with asyncio.timeout(4 * WAIT_S):
            await has_stalled.wait()
            for _ in range(count):
                assert (await client.hear())["method"] == "notifications/message"
            assert (await client.hear())["id"] == 1
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kib = int(status.partition("VmHWM:")[2].split()[0])
        assert peak_kib < MOST_KIB  # a fraction of what was said
    finally:
        process.kill()
        await process.wait()
        server.close()
