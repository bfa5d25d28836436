"""Tasks through a real gateway of two processes, in what the suite does not look at: news on a stream, and roots."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from tests.conformance.cells import CELLS, TASKS_EXTENSION, standing

pytestmark = pytest.mark.real

META: Final = "io.modelcontextprotocol/"
PATIENCE_S: Final = 20.0
POLLS: Final = 200
CAPABILITIES: Final[dict[str, Any]] = {"elicitation": {}, "extensions": {TASKS_EXTENSION: {}}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed; the walls cannot be built")
    with standing(CELLS["tasks"], tmp_path_factory.mktemp("tasks")) as there:
        yield there.url


def post(url: str, method: str, params: dict[str, Any]) -> http.client.HTTPResponse:
    """One request on a connection of its own, so that either process may get it."""
    meta = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": CAPABILITIES}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
    }
    name = params.get("name", params.get("taskId"))
    if name is not None:
        headers["Mcp-Name"] = name
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=PATIENCE_S)
    connection.request("POST", where.path, json.dumps(body), headers)
    return connection.getresponse()


def result(url: str, method: str, **params: Any) -> dict[str, Any]:
    """The result of a request that is answered at once."""
    answer = json.loads(post(url, method, params).read())
    assert "result" in answer, answer
    found: dict[str, Any] = answer["result"]
    return found


def begin(url: str, tool: str, **arguments: Any) -> str:
    made = result(url, "tools/call", name=tool, arguments=arguments)
    assert made["resultType"] == "task"
    return str(made["taskId"])


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])


def test_a_client_is_told_when_its_task_is_done(url: str) -> None:
    handle = begin(url, "confirm_delete", filename="notes.txt")
    stream = post(url, "subscriptions/listen", {"notifications": {"taskIds": [handle, "strange"]}})
    news = events(stream)
    assert next(news)["params"]["notifications"] == {"taskIds": [handle]}
    pause = threading.Event()
    for _ in range(POLLS):
        waiting = result(url, "tasks/get", taskId=handle)
        if waiting["status"] == "input_required":
            break
        pause.wait(0.05)
    assert waiting["inputRequests"].keys() == {"elicitation:confirm"}
    answers = {"elicitation:confirm": {"action": "accept", "content": {"confirm": True}}}
    said = result(url, "tasks/update", taskId=handle, inputResponses=answers)
    assert said.pop("_meta").keys() == {"sekisho/call"}
    assert said == {"resultType": "complete"}
    done = next(one["params"] for one in news if one["params"]["status"] == "completed")
    stream.close()
    assert done["taskId"] == handle
    assert done["result"]["content"][0]["text"] == "deleted notes.txt"


def test_a_task_that_asks_for_roots_asks_no_client(url: str) -> None:
    handle = begin(url, "test_task_roots")
    pause = threading.Event()
    for _ in range(POLLS):
        state = result(url, "tasks/get", taskId=handle)
        assert "inputRequests" not in state or not state["inputRequests"]
        if state["status"] == "completed":
            break
        pause.wait(0.05)
    assert state["result"]["content"][0]["text"].startswith("Roots: ")
