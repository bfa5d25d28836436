"""Trace context in headers becomes `_meta` of a call, where its plugin is to have it and `_meta` says nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.speaking import ASKABLE, KEY, Client, calc, context, offer, reply

from sekisho.errors import RemoteProtocolError
from sekisho.gateway.caller import MAX_META_BYTES, spread
from sekisho.gateway.tracing import with_trace
from sekisho.protocol import TRACE_NAMES, HttpRequest, JsonObject, PluginName

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER: Final = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00"
HEADERS: Final[dict[str, Any]] = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "tenant=7"}
CALL: Final = {"name": "calc__erase", "arguments": {"path": "a"}}


def wanting(kit: Kit, *names: str) -> None:
    """The operator wants these for the plugin."""
    offer(kit, calc())
    calc_name = PluginName("calc")
    standing = replace(kit.house.standings[calc_name], trace=frozenset(names))
    kit.house = replace(kit.house, standings={**kit.house.standings, calc_name: standing})


def meta_of(kit: Kit) -> Any:
    said = bytes(context(kit.line).meta)
    return json.loads(said) if said else {}


def test_headers_say_what_meta_does_not() -> None:
    assert with_trace({}, HEADERS, TRACE_NAMES) == HEADERS
    assert with_trace({"x": 1}, HEADERS, ("traceparent",)) == {"x": 1, "traceparent": PARENT}


def test_a_trace_is_taken_whole_from_one_place() -> None:
    for name, value in (
        ("traceparent", OTHER),
        ("tracestate", "b=2"),
        ("traceparent", "garbage"),
        ("traceparent", None),
    ):
        own: JsonObject = {name: value}
        assert with_trace(own, HEADERS, TRACE_NAMES) == {name: value, "baggage": "tenant=7"}
    assert with_trace({"baggage": ""}, HEADERS, TRACE_NAMES) == {**HEADERS, "baggage": ""}


def test_what_is_said_nowhere_or_wrongly_leaves_meta_as_it_is() -> None:
    meta: JsonObject = {"x": 1}
    for headers in ({}, {"traceparent": "garbage", "tracestate": "a=1"}, {"host": PARENT}):
        assert with_trace(meta, headers, TRACE_NAMES) is meta


@pytest.mark.threat("T-FLOOD")
@given(size=st.integers(0, MAX_META_BYTES), bag=st.integers(0, 8190), quotes=st.integers(0, 200))
def test_no_header_makes_a_call_too_large(size: int, bag: int, quotes: int) -> None:
    meta: JsonObject = {"x": "y" * size}
    headers = {
        "traceparent": PARENT,
        "tracestate": "a=" + '"' * quotes + "x",
        "baggage": "b=" + "v" * bag,
    }
    try:
        spread(meta)
    except RemoteProtocolError:
        return  # the client's own is too large
    whole = with_trace(meta, headers, TRACE_NAMES)
    assert len(spread(whole)) <= MAX_META_BYTES
    assert whole.items() >= meta.items()
    assert "traceparent" in whole or "tracestate" not in whole


@pytest.mark.threat("T-PASSTHROUGH")
@pytest.mark.parametrize("modern", [True, False])
def test_a_plugin_gets_no_header_that_its_operator_does_not_name(kit: Kit, *, modern: bool) -> None:
    wanting(kit)
    client = Client(kit, modern=modern, capabilities=ASKABLE)
    client.send("tools/call", CALL, **HEADERS)
    assert meta_of(kit) == {}
    wanting(kit, "traceparent", "tracestate")
    client.send("tools/call", CALL, **HEADERS)
    assert meta_of(kit) == {"traceparent": PARENT, "tracestate": "a=1"}  # the harmless twin
    client.send("tools/call", CALL, traceparent="00-garbage", tracestate="a=1")
    assert meta_of(kit) == {}


@pytest.mark.parametrize("modern", [True, False])
def test_other_methods_carry_it_too(kit: Kit, *, modern: bool) -> None:
    wanting(kit, *TRACE_NAMES)
    client = Client(kit, modern=modern, capabilities=ASKABLE)
    for method, params in (
        ("prompts/get", {"name": "calc__greet"}),
        ("resources/read", {"uri": "test://one"}),
    ):
        client.send(method, params, **HEADERS)
        assert meta_of(kit) == HEADERS


@pytest.mark.threat("T-EGRESS")
def test_what_headers_say_is_searched_and_the_log_commits_to_it(kit: Kit) -> None:
    wanting(kit, *TRACE_NAMES)
    client = Client(kit, capabilities=ASKABLE)
    client.send("tools/call", CALL, **HEADERS)
    reply(kit, {"content": []})
    client.meta = HEADERS
    client.send("tools/call", CALL)
    reply(kit, {"content": []})
    client.meta = {}
    client.send("tools/call", CALL)
    intents = [entry for entry in kit.log.entries if entry["kind"] == "intent"]
    assert ["meta" in entry for entry in intents] == [True, True, False]
    stolen = KEY.replace("\n", " ").strip()
    refused = client.send("tools/call", CALL, traceparent=PARENT, tracestate=f"a={stolen}")
    assert refused.code == "content_refused"


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("name", TRACE_NAMES)
def test_a_head_that_is_another_each_time_takes_no_others_place(kit: Kit, name: str) -> None:
    call = kit.modern_request("tools/call", {"name": "calc__add", "arguments": {"a": 1}})

    def kept(more: dict[str, str]) -> int:
        kit.door.answer(
            HttpRequest(
                method=call.method,
                target=call.target,
                headers={**call.headers, **more},
                body=call.body,
                head=b"POST /mcp HTTP/1.1\r\nX: call\r\n\r\n",
            ),
            kit.ear(),
        )
        return len(kit.door.heads)

    assert kept({name: HEADERS[name]}) == 0
    assert kept({name: "garbage"}) == 0
    assert kept({"x-other": "1"}) == 1
