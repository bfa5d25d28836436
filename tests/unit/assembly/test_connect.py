from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.assembly.connect import modern_headers, run_connect
from sekisho.errors import Misconfigured
from sekisho.protocol import (
    ClientRequest,
    HttpRequest,
    JsonLimits,
    RequestReader,
    envelope,
    parse_client_message,
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


def _climb(message: bytes) -> bool:
    """True when the gateway's own ladder takes the message with these headers as modern."""
    headers = {name.lower(): value for name, value in modern_headers(message)}
    read = parse_client_message(message, JsonLimits(max_bytes=1 << 20))
    assert isinstance(read, ClientRequest)
    return envelope(headers, read).modern


@pytest.mark.requirement("B7")
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("server/discover", {}),
        ("tools/list", {"name": "not asked for"}),
        ("tools/call", {"name": "files__read", "arguments": {}}),
        ("prompts/get", {"name": "=?base64?eA==?="}),
        ("resources/read", {"uri": "file:///ü\n", "name": "other"}),
    ],
)
def test_a_modern_message_passes_the_ladder_of_the_gateway(method: str, params: dict[str, Any]) -> None:
    assert _climb(_message(method, _meta=META, **params))


@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_name_passes_the_ladder(name: str) -> None:
    assert _climb(_message("tools/call", _meta=META, name=name))


@pytest.mark.parametrize(
    "message",
    [
        _message("tools/call", name="read"),
        _message("tools/call", name="read", _meta={"progressToken": 1}),
        _message("tools/call", name=7, _meta=META),
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
    ],
)
def test_a_message_that_is_not_modern_gets_no_headers(message: bytes) -> None:
    assert modern_headers(message) == ()


async def _relay(
    lines: list[bytes],
    reply: Callable[[HttpRequest], bytes],
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
                writer.write(reply(request))
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
    first, second = requests
    assert "mcp-protocol-version" not in first.headers
    assert second.headers["mcp-protocol-version"] == "2025-06-18"
    assert second.headers["mcp-session-id"] == "s1"
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


async def test_progress_is_passed_on_before_the_result(tmp_path: Path) -> None:
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
        other = {"jsonrpc": "2.0", "method": "notifications/other"}
        said = [*news, other, {"jsonrpc": "2.0", "id": ident, "result": {"content": []}}]
        body = "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in said).encode()
        return response_bytes(200, body, content_type="text/event-stream")

    rest: list[dict[str, Any]] = []
    line = _message("tools/call", name="read", _meta={"progressToken": 1})
    _, first = await _relay([line], stream, tmp_path, rest)
    said = [*first, *rest]
    assert [one["params"]["progress"] for one in said[:-1]] == [0, 1, 2]
    assert said[-1]["result"] == {"content": []}
