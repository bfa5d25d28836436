"""A call whose stream broke is answered where its client comes back; in the process that served it, and only there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest
from tests.real.conftest import ECHO, ECHO_TOOLS, House, common, message, plugin, until
from tests.real.test_connect import FIXTURE, TOOLS

pytestmark = pytest.mark.real

WAIT_S: Final = 30.0
MAX_TRIES: Final = 60  # the kernel chooses a worker for each connection by a hash


@pytest.fixture(scope="module", params=[1, 2], ids=["one", "two"])
def home(
    walls: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[House, int]]:
    """A house of one worker, and one of two."""
    text = (
        common() + plugin("echo", ECHO, operations=ECHO_TOOLS) + plugin("fixture", FIXTURE, operations=TOOLS)
    )
    house = House(tmp_path_factory.mktemp("resuming"), text, core=f"workers = {request.param}\n")
    try:
        until(lambda: house.answers("echo__echo", text="a"), "the plugin serves")
        until(lambda: house.answers("fixture__test_simple_text"), "the fixture serves")
        yield house, request.param
    finally:
        house.stop()


class Caller:
    """A client of 2025-11-25 that makes a connection for each request."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.headers = {"Authorization": f"Bearer {house.token}", "Content-Type": "application/json"}
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        with self.http() as http:
            answer = http.post(house.url, content=message("initialize", hello), headers=self.headers)
        self.headers |= {
            "Mcp-Session-Id": answer.headers["mcp-session-id"],
            "MCP-Protocol-Version": "2025-11-25",
        }

    def http(self) -> httpx2.Client:
        return httpx2.Client(verify=self.house.context, timeout=WAIT_S)

    def break_off(self) -> str:
        """Call, read one piece of news, and be gone; the id of what was read."""
        params = {
            "name": "fixture__test_tool_with_progress",
            "arguments": {},
            "_meta": {"progressToken": "t"},
        }
        reads = self.headers | {"Accept": "application/json, text/event-stream"}
        body, last = message("tools/call", params, 7), ""
        with self.http() as http, http.stream("POST", self.house.url, content=body, headers=reads) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    last = line.removeprefix("id: ")
                if last and line.startswith("data: {"):
                    break
        return last

    def come_back(self, last: str) -> tuple[int, list[Any]]:
        """The status, and all messages until the stream ends."""
        reads = self.headers | {"Accept": "text/event-stream", "Last-Event-ID": last}
        with self.http() as http, http.stream("GET", self.house.url, headers=reads) as stream:
            lines = list(stream.iter_lines())
        if stream.status_code != 200:
            return stream.status_code, [json.loads("".join(lines))]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
        return 200, [json.loads(one) for one in data]


def test_a_broken_call_is_answered_where_its_client_comes_back(home: tuple[House, int]) -> None:
    caller = Caller(home[0])
    wanted, seen = {200, 400} if home[1] > 1 else {200}, set()
    for _ in range(MAX_TRIES):
        status, heard = caller.come_back(caller.break_off())
        seen.add(status)
        if status == 200:
            # the first may have come in one piece with the second
            assert [one["params"]["progress"] for one in heard[:-1]][-2:] == [50, 100]
            assert heard[-1]["id"] == 7
            assert "result" in heard[-1]
        else:
            assert heard[0]["error"]["data"]["code"] == "stream_unknown"
        if seen == wanted:
            break
    assert seen == wanted
