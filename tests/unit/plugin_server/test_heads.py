"""The heads of requests to a plugin at a URL."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.plugin_server.authoriser import StaticHeaders
from sekisho.plugin_server.call_words import CallWords
from sekisho.plugin_server.heads import RequestHeads
from sekisho.plugin_server.site import Site
from sekisho.protocol import (
    ClientRequest,
    HttpRequest,
    JsonLimits,
    RequestReader,
    decode_header,
    envelope,
    parse_client_message,
)

SITE = Site.parse("http://mcp.example.org:8080/mcp?a=b")
HEADS = RequestHeads(SITE, StaticHeaders())
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
TOOL = {
    "name": "read",
    "inputSchema": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
}
FIXED = {"host", "content-length", "content-type", "accept"}


def _message(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def _read(data: bytes) -> HttpRequest:
    [request] = RequestReader().feed(data)
    return request


def _sent(heads: RequestHeads, message: bytes, words: bytes = b"") -> HttpRequest:
    return _read(heads.post(message, words) + message)


@pytest.mark.threat("T-PASSTHROUGH")
def test_a_legacy_message_has_the_fixed_headers_and_no_other() -> None:
    request = _sent(RequestHeads(SITE, StaticHeaders()), _message("tools/call", name="read"))
    assert (request.method, request.target, set(request.headers)) == ("POST", "/mcp?a=b", FIXED)
    assert request.headers["host"] == "mcp.example.org:8080"


def test_a_legacy_session_repeats_its_id_and_version_in_every_head() -> None:
    heads = RequestHeads(SITE, StaticHeaders({"X-Key": "k"}))
    assert heads.use_session("s-1")
    assert not heads.use_session("s-1")
    heads.use_version("2025-11-25")
    said = {"mcp-session-id": "s-1", "mcp-protocol-version": "2025-11-25", "x-key": "k"}
    get, delete = _read(heads.get("e 7")), _read(heads.delete())
    for request in (_sent(heads, _message("tools/list")), get, delete):
        assert said.items() <= request.headers.items()
    assert (get.method, get.headers["last-event-id"]) == ("GET", "e 7")
    assert (delete.method, "last-event-id" in delete.headers) == ("DELETE", False)


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("session", ["", "a b", "a\r\nX: y", "é", "x" * 20_000])
def test_a_session_id_that_cannot_be_sent_back_is_not_taken(session: str) -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    assert not heads.use_session(session)
    assert heads.session is None


def test_a_modern_server_gets_no_session() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    heads.use_session("s-1")
    heads.use_version("2026-07-28")
    assert "mcp-session-id" not in _sent(heads, _message("tools/list", _meta=META)).headers


def test_annotated_arguments_of_a_tool_are_repeated() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    heads.use_version("2026-07-28")
    broken = {"name": "bad", "inputSchema": {"x-mcp-header": "A"}}
    heads.use_tools([msgspec.Raw(json.dumps(tool).encode()) for tool in (TOOL, broken, 7)])
    for arguments, wanted in (({"region": "eu"}, "eu"), ({"region": "ü"}, "=?base64?w7w=?="), ({}, None)):
        message = _message("tools/call", name="read", arguments=arguments, _meta=META)
        assert _sent(heads, message).headers.get("mcp-param-region") == wanted
    other = _message("prompts/get", name="read", arguments={"region": "eu"}, _meta=META)
    assert "mcp-param-region" not in _sent(heads, other).headers


def test_names_without_end_are_forgotten() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    for number in range(3_000):
        message = _message("resources/read", uri=f"file:///{number}", _meta=META)
        assert _sent(heads, message).headers["mcp-name"] == f"file:///{number}"


def test_new_credentials_are_in_the_next_head() -> None:
    chosen = [("Authorization", "Bearer 1")]

    class Changing:
        problem: SekishoError | None = None

        async def prepare(self) -> None:
            raise AssertionError("nobody opens a session here")

        async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
            raise AssertionError("nobody sends anything here")

        def headers(self, method: str, url: str) -> list[tuple[str, str]]:
            assert (method, url) == ("POST", SITE.url)
            return chosen

    heads = RequestHeads(SITE, Changing())
    assert _sent(heads, _message("ping")).headers["authorization"] == "Bearer 1"
    chosen = [("Authorization", "Bearer 2")]
    assert _sent(heads, _message("ping")).headers["authorization"] == "Bearer 2"


def _climb(message: bytes) -> bool:
    """True when the gateway's own ladder takes the message with these headers as modern."""
    head = HEADS.post(message)
    request = _read(head + message)
    headers = request.headers
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
        ("tasks/get", {"taskId": "t 1"}),
        ("tasks/update", {"taskId": "ü", "inputResponses": {}}),
        ("tasks/cancel", {"taskId": "t-1", "name": "other"}),
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
    assert not any(name.startswith("mcp-") for name in _read(HEADS.post(message) + message).headers)


def _call(name: str, **meta: Any) -> bytes:
    """A call as `session` writes it."""
    params = {"name": name, "arguments": {"region": "eu"}, "_meta": META | meta}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})


def _words(name: str) -> bytes:
    """What calls of this tool have in common, as `session` tells it."""
    return CallWords(has_roots=False).head_of(name)


def test_what_calls_of_a_tool_say_is_found_out_once_and_anew_with_other_tools_or_another_version() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    heads.use_version("2026-07-28")
    for name in ("read", "write", "read", 'wr"ite', "re\\ad", "täglich"):
        said = _sent(heads, _call(name), _words(name)).headers
        assert decode_header(said["mcp-name"]) == name
        assert (said["mcp-method"], said["mcp-protocol-version"]) == ("tools/call", "2026-07-28")
    heads.use_tools([msgspec.Raw(msgspec.json.encode(TOOL))])
    assert _sent(heads, _call("read"), _words("read")).headers["mcp-param-region"] == "eu"
    heads.use_tools([])
    assert "mcp-param-region" not in _sent(heads, _call("read"), _words("read")).headers
    heads.use_version("2025-11-25")
    assert "mcp-name" not in _sent(heads, _call("read"), _words("read")).headers


def test_the_second_call_of_a_tool_is_not_read_for_its_head() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    heads.use_version("2026-07-28")
    first = heads.post(_call("read"), _words("read"))
    unread = b"x" * len(_call("read"))
    assert heads.post(unread, _words("read")) == first
    assert b"Mcp-Name" not in heads.post(unread, _words("write"))


def test_a_call_that_cannot_be_read_does_not_silence_the_next() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    heads.use_version("2026-07-28")
    assert b"Mcp-Name" not in heads.post(_call("read")[:-1], _words("read"))
    assert b"Mcp-Name: read" in heads.post(_call("read"), _words("read"))


@pytest.mark.threat("T-PARSER")
def test_arguments_that_look_like_a_call_do_not_name_the_tool() -> None:
    heads = RequestHeads(SITE, StaticHeaders())
    heads.use_version("2026-07-28")
    lookalike = b'{"x":{"id":1,"method":"tools/call","params":{"name":"evil","arguments":{}}}}'
    for name in ("read", 'x","arguments":{"y":"'):
        call = _call(name).replace(b'{"region":"eu"}', lookalike)
        for words in (b"", _words(name)):
            assert decode_header(_sent(heads, call, words).headers["mcp-name"]) == name


@pytest.mark.threat("T-PARSER")
@given(
    st.lists(
        st.sampled_from(("read", 'read","arguments":', ',"method":"tools/call"', "a", "é\\")), min_size=1
    )
)
def test_what_is_remembered_of_one_tool_is_said_of_no_other_message(names: list[str]) -> None:
    warm = RequestHeads(SITE, StaticHeaders())
    warm.use_version("2026-07-28")
    for name in ("read", *names):
        answer = b'{"jsonrpc":"2.0","id":7,"result":' + _call(name) + b"}"
        text = b'{"jsonrpc":"2.0","id":%b,"result":{}}' % msgspec.json.encode(_call(name).decode())
        for message, words in ((_call(name), _words(name)), (answer, b""), (text, b"")):
            cold = RequestHeads(SITE, StaticHeaders())
            cold.use_version("2026-07-28")
            assert warm.post(message, words) == cold.post(message)
