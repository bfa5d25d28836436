from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.assembly.connect import run_connect
from sekisho.errors import Misconfigured
from sekisho.protocol import (
    HttpRequest,
    RequestReader,
    response_bytes,
)

WAIT_S = 20.0
TOKEN = "sk-" + "a" * 43
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _message(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


async def _relay(
    lines: list[bytes],
    reply: Callable[[HttpRequest], bytes | AsyncIterator[bytes]],
    folder: Path,
    rest: list[dict[str, Any]] | None = None,
) -> tuple[list[HttpRequest], list[dict[str, Any]]]:
    """Run the real command against a server in this process; one line after the answer to the one before.

    What it writes beyond one line for each goes to `rest`, and must be nothing without it.
    """
    requests: list[HttpRequest] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = RequestReader()
        while data := await reader.read(1 << 16):
            for request in parser.feed(data):
                requests.append(request)
                said = reply(request)
                if isinstance(said, bytes):
                    writer.write(said)
                    continue
                async for piece in said:
                    writer.write(piece)
        writer.close()

    (folder / "token").write_text(TOKEN)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    program = (
        "import sys; from pathlib import Path; from sekisho.assembly.connect import run_connect; "
        "sys.exit(run_connect(sys.argv[1], Path(sys.argv[2]), None))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Ic",
        program,
        url,
        str(folder / "token"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    async with asyncio.timeout(WAIT_S):
        for line in lines:
            process.stdin.write(line + b"\n")
            answers.append(json.loads(await process.stdout.readline()))
        process.stdin.close()
        more = [json.loads(line) for line in (await process.stdout.read()).splitlines()]
        if rest is not None:
            rest += more
        else:
            assert more == []
        assert await process.wait() == 0
    server.close()
    return requests, answers


def _answer(request: HttpRequest) -> bytes:
    if request.method == "DELETE":
        return response_bytes(204, b"")
    message = json.loads(request.body)
    result = (
        {"protocolVersion": "2025-06-18"}
        if message["method"] == "initialize"
        else {"echo": message["method"]}
    )
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    return response_bytes(200, json.dumps(answer).encode(), headers=[("Mcp-Session-Id", "s1")])


async def test_a_legacy_session_repeats_session_and_negotiated_version(tmp_path: Path) -> None:
    lines = [_message("initialize", protocolVersion="2025-11-25"), _message("tools/list")]
    requests, answers = await _relay(lines, _answer, tmp_path)
    assert [answer["id"] for answer in answers] == [1, 1]
    first, second, last = requests
    assert "mcp-protocol-version" not in first.headers
    assert second.headers["mcp-protocol-version"] == "2025-06-18"
    assert second.headers["mcp-session-id"] == last.headers["mcp-session-id"] == "s1"
    assert last.method == "DELETE"
    assert first.headers["authorization"] == second.headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_modern_call_carries_its_headers(tmp_path: Path) -> None:
    requests, answers = await _relay([_message("tools/call", _meta=META, name="a__b")], _answer, tmp_path)
    assert answers[0]["result"] == {"echo": "tools/call"}
    assert requests[0].headers["mcp-method"] == "tools/call"
    assert requests[0].headers["mcp-name"] == "a__b"
    assert requests[0].headers["mcp-protocol-version"] == "2026-07-28"


@pytest.mark.threat("T-GARBAGE")
async def test_garbage_from_either_side_becomes_an_error(tmp_path: Path) -> None:
    lines = [b"hello", _message("tools/list")]
    requests, answers = await _relay(lines, lambda request: response_bytes(200, b"{oops"), tmp_path)
    assert [answer["id"] for answer in answers] == [None, 1]
    assert all("error" in answer for answer in answers)
    assert len(requests) == 1


async def test_an_http_error_becomes_an_error_of_its_request(tmp_path: Path) -> None:
    _, [answer] = await _relay([_message("tools/list")], lambda request: response_bytes(503, b""), tmp_path)
    assert "503" in answer["error"]["message"]


def test_a_token_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        run_connect("https://127.0.0.1:1/mcp", tmp_path / "absent", None)
    assert caught.value.code == "key_unavailable"


async def test_what_the_gateway_tells_is_passed_on_before_the_result(tmp_path: Path) -> None:
    def stream(request: HttpRequest) -> bytes:
        ident = json.loads(request.body)["id"]
        news = [
            {
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {"progressToken": 1, "progress": number},
            }
            for number in range(3)
        ]
        other = {
            "jsonrpc": "2.0",
            "method": "notifications/message",
            "params": {"level": "info", "data": "x"},
        }
        said = [*news, other, {"jsonrpc": "2.0", "id": ident, "result": {"content": []}}]
        return response_bytes(200, b"".join(map(_event, said)), content_type="text/event-stream")

    rest: list[dict[str, Any]] = []
    line = _message("tools/call", name="read", _meta={"progressToken": 1})
    _, first = await _relay([line], stream, tmp_path, rest)
    said = [*first, *rest]
    assert [one["params"].get("progress") for one in said[:-1]] == [0, 1, 2, None]
    assert said[-2]["params"]["data"] == "x"
    assert said[-1]["result"] == {"content": []}


async def test_a_question_reaches_the_client_and_its_answer_the_gateway(tmp_path: Path) -> None:
    is_answered = asyncio.Event()
    question = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "?"}}
    answer = {"jsonrpc": "2.0", "id": "q", "result": {"action": "decline"}}

    async def ask(ident: int) -> AsyncIterator[bytes]:
        yield (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            + _chunk(_event(question))
        )
        await is_answered.wait()
        yield _chunk(_event({"jsonrpc": "2.0", "id": ident, "result": {"content": []}})) + b"0\r\n\r\n"

    def reply(request: HttpRequest) -> bytes | AsyncIterator[bytes]:
        message = json.loads(request.body or b'{"method": "initialize", "id": 0}')
        if message.get("method") == "initialize":
            return _answer(request)
        if "method" in message:
            return ask(message["id"])
        is_answered.set()
        return response_bytes(202, b"")

    hello = _message("initialize", protocolVersion="2025-11-25")
    lines = [hello, _message("tools/call", name="ask"), json.dumps(answer).encode()]
    requests, said = await _relay(lines, reply, tmp_path)
    assert said[1:] == [question, {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}]
    assert json.loads(requests[2].body) == answer


def _event(message: dict[str, Any]) -> bytes:
    return f"event: message\ndata: {json.dumps(message)}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (
            503,
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"full","data":{"code":"busy"}}}',
            "busy",
        ),
        (
            429,
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"x","data":{"code":"rate_limited"}}}',
            "rate_limited",
        ),
        (503, b"<html>a proxy</html>", "gateway_unavailable"),
    ],
)
async def test_a_gate_that_is_busy_says_so_and_is_not_taken_for_one_that_is_away(
    tmp_path: Path, status: int, body: bytes, code: str
) -> None:
    _, answers = await _relay(
        [_message("tools/call", _meta=META, name="a__b")], lambda _: response_bytes(status, body), tmp_path
    )
    assert answers[0]["error"]["data"]["code"] == code
