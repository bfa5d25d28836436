"""A server that reads trace context in headers gets there what the message says, if that is wanted and valid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.authoriser import StaticHeaders
from sekisho.plugin_server.heads import RequestHeads
from sekisho.plugin_server.site import Site
from sekisho.plugin_server.trace_lines import trace_lines
from sekisho.protocol import TRACE_NAMES, RequestReader

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
META = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "tenant=7"}
SITE = Site.parse("http://mcp.example.org:8080/mcp")
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def message(meta: object, **arguments: Any) -> bytes:
    params = {"name": "read", "arguments": arguments, "_meta": meta}
    said = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return json.dumps(said, separators=(",", ":")).encode()


def sent(heads: RequestHeads, text: bytes) -> dict[str, str]:
    [request] = RequestReader().feed(heads.post(text) + text)
    assert request.body == text
    return dict(request.headers)


def traced(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name in TRACE_NAMES}


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_each_message_says_its_own_trace_in_its_head(version: str) -> None:
    heads = RequestHeads(SITE, StaticHeaders(), TRACE_NAMES)
    heads.use_version(version)
    bare = sent(heads, message(MODERN))
    for parent in (PARENT, PARENT.replace("b7", "c8")):
        said = sent(heads, message(MODERN | META | {"traceparent": parent}))
        assert traced(said) == META | {"traceparent": parent}
        assert bare.keys() == said.keys() - META.keys()
    assert sent(heads, message(MODERN)) == bare
    assert not traced(bare)


@pytest.mark.threat("T-PASSTHROUGH")
def test_only_what_the_operator_names_is_repeated() -> None:
    assert not traced(sent(RequestHeads(SITE, StaticHeaders()), message(META)))
    some = RequestHeads(SITE, StaticHeaders(), ("traceparent", "tracestate"))
    assert traced(sent(some, message(META))) == {"traceparent": PARENT, "tracestate": "a=1"}


@pytest.mark.threat("T-PASSTHROUGH")
def test_arguments_that_look_like_trace_context_are_not_repeated() -> None:
    assert trace_lines(message({}, **META), TRACE_NAMES) == b""
    assert trace_lines(message({}, _meta=META, params={"_meta": META}), TRACE_NAMES) == b""


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("end", ["\r\nX-Evil: 1", "\n", "\r", "\0", "é", "\u2028", "\ud800"])
def test_no_value_ends_its_line(end: str) -> None:
    for name, value in META.items():
        assert f"{name}:".encode() not in trace_lines(message({**META, name: value + end}), TRACE_NAMES)
    assert trace_lines(message(META), TRACE_NAMES).count(b"\r\n") == 3  # the harmless twin


@pytest.mark.threat("T-GARBAGE")
@given(
    values=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            TRACE_NAMES,
            st.one_of(st.text(max_size=40), st.integers(), st.just(PARENT), st.just("a=1"), st.none()),
        ),
    )
)
def test_whatever_meta_says_the_head_stays_one_request(values: dict[str, object]) -> None:
    heads = RequestHeads(SITE, StaticHeaders(), TRACE_NAMES)
    text = message(values)
    for name, value in traced(sent(heads, text)).items():
        assert value == values[name]


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"traceparent":"x"}}',
        b'{"params":{"_meta":["traceparent":',
        b'{"params":["traceparent",{"baggage":"a=1"}]}',
        b'{"params":{"_meta":"\\"traceparent\\":"}}',
        b'{"params":{"_meta":{"baggage":1}}}',
        b'{"params":{"_meta":{"baggage":"a=1"}',
    ],
)
def test_what_is_no_request_or_cannot_be_read_says_no_trace(text: bytes) -> None:
    assert trace_lines(text, TRACE_NAMES) == b""
