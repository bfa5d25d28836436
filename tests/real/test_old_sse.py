"""Clients of the oldest transport (HTTP+SSE, 2024-11-05): the official SDK's own, against a real house that serves it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.sse import sse_client
from mcp_types import ElicitRequestParams, ElicitResult
from tests.real.conftest import ECHO, ECHO_TOOLS, House, common, message, plugin, until
from tests.real.test_connect import FIXTURE, TOOLS, text_of

pytestmark = pytest.mark.real

WAIT_S: Final = 30.0


@pytest.fixture(scope="module")
def home(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that serves the oldest transport too."""
    text = (
        common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin("fixture", FIXTURE, operations=TOOLS, more='client_requests = ["elicitation"]\n')
    )
    house = House(tmp_path_factory.mktemp("sse"), text, core="legacy_sse = true\n")
    try:
        until(lambda: house.answers("echo__echo", text="a"), "the plugin serves")
        until(lambda: house.answers("fixture__test_simple_text"), "the fixture serves")
        yield house
    finally:
        house.stop()


@asynccontextmanager
async def client_of(house: House, path: str = "/sse", **options: Any) -> AsyncIterator[Client]:
    """The official client over its SSE transport."""

    def make(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(verify=house.context, headers=headers, timeout=timeout, auth=auth)

    transport = sse_client(
        house.url.removesuffix("/mcp") + path,
        headers={"Authorization": f"Bearer {house.token}"},
        httpx_client_factory=make,
    )
    async with asyncio.timeout(WAIT_S), Client(transport, mode="legacy", **options) as client:
        yield client


async def test_the_official_client_lists_and_calls(home: House) -> None:
    async with client_of(home) as client:
        assert "echo__add" in [tool.name for tool in (await client.list_tools()).tools]
        assert text_of(await client.call_tool("echo__echo", {"text": "old"})) == "old"
    async with client_of(home, "/p/echo/sse") as client:
        assert text_of(await client.call_tool("echo", {"text": "one"})) == "one"


async def test_progress_and_questions_come_down_the_stream(home: House) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context, params
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with client_of(home, elicitation_callback=answer) as client:
        await client.call_tool("fixture__test_tool_with_progress", {}, progress_callback=hear)
        result = await client.call_tool("fixture__test_input_required_result_elicitation", {})
    assert heard == [0, 50, 100]
    assert "Ada" in text_of(result)


def sent(house: House) -> int:
    """How many slow calls have been sent to the plugin."""
    return sum(one.get("tool") == "slow" and one["kind"] == "intent" for one in house.records())


async def test_a_withdrawn_call_ends_and_the_stream_goes_on(home: House) -> None:
    before, calls = home.counted("cancelled"), sent(home)
    async with client_of(home) as client:
        call = asyncio.get_running_loop().create_task(client.call_tool("echo__slow", {"seconds": 30}))
        await asyncio.to_thread(until, lambda: sent(home) > calls, "the plugin is called")
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.to_thread(until, lambda: home.counted("cancelled") > before, "it was withdrawn")
        assert text_of(await client.call_tool("echo__echo", {"text": "still"})) == "still"


async def test_a_lost_stream_withdraws_its_call(home: House) -> None:
    before, calls = home.counted("cancelled"), sent(home)
    async with opened(home) as (http, lines, address):
        hello = {"protocolVersion": "2024-11-05", "capabilities": {}}
        slow = {"name": "echo__slow", "arguments": {"seconds": 30}}
        for body in (message("initialize", hello), message("tools/call", slow, 2)):
            assert (await http.post(address, content=body)).status_code == 202
        assert (await anext(lines)) == "event: message"
        await asyncio.to_thread(until, lambda: sent(home) > calls, "the plugin is called")
    await asyncio.to_thread(until, lambda: home.counted("cancelled") > before, "it was withdrawn")


async def test_a_batch_is_answered_by_one_event(home: House) -> None:
    async with opened(home) as (http, lines, address):
        hello = {"protocolVersion": "2025-03-26", "capabilities": {}}
        assert (await http.post(address, content=message("initialize", hello))).status_code == 202
        assert await anext(lines) == "event: message"
        assert "protocolVersion" in await anext(lines)
        assert await anext(lines) == ""
        calls = [json.loads(message("tools/call", echo(text), at)) for at, text in enumerate("ab", start=2)]
        assert (await http.post(address, content=json.dumps(calls))).status_code == 202
        assert await anext(lines) == "event: message"
        answers = json.loads((await anext(lines)).removeprefix("data: "))
        assert [one["result"]["content"][0]["text"] for one in answers] == ["a", "b"]


def echo(text: str) -> dict[str, object]:
    return {"name": "echo__echo", "arguments": {"text": text}}


@asynccontextmanager
async def opened(house: House) -> AsyncIterator[tuple[httpx2.AsyncClient, AsyncIterator[str], str]]:
    """A bare stream: a client with the token, the lines behind the first event, and the address it named."""
    base = house.url.removesuffix("/mcp")
    headers = {"Authorization": f"Bearer {house.token}", "Content-Type": "application/json"}
    async with (
        asyncio.timeout(WAIT_S),
        httpx2.AsyncClient(verify=house.context, timeout=WAIT_S, headers=headers) as http,
        http.stream("GET", f"{base}/sse", headers={"Accept": "text/event-stream"}) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: endpoint"
        address = base + (await anext(lines)).removeprefix("data: ")
        assert await anext(lines) == ""
        yield http, lines, address


@pytest.mark.threat("T-CROSS")
async def test_a_stranger_can_neither_open_a_stream_nor_post_to_one(home: House) -> None:
    base, reads = home.url.removesuffix("/mcp"), {"Accept": "text/event-stream"}
    async with opened(home) as (http, _, address):
        rebound = await http.get(f"{base}/sse", headers=reads | {"Origin": "https://evil.example"})
        assert rebound.status_code == 403
        ping = message("ping", {})
        honest = await http.post(address, content=ping)
        assert honest.status_code == 202
        del http.headers["Authorization"]
        assert (await http.get(f"{base}/sse", headers=reads)).status_code == 401
        assert (await http.post(address, content=ping)).status_code == 401
