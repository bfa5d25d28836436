"""What a plugin's answer must be: of its method's form, in its own voice, about what was asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.speaking import FORM, ROUNDS, STREAM, calc, offer, sealed

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.gateway.caller import Caller
from sekisho.gateway.questions import MAX_QUESTIONS
from sekisho.gateway.results import (
    WORTH_CUTTING,
    error_body,
    may_ask,
    method_result,
    read_object,
    read_questions,
    round_of_questions,
    tool_result,
)
from sekisho.protocol import META_CALL, JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

QUESTION: dict[str, Any] = {"method": "elicitation/create", "params": FORM}


@pytest.fixture
def kit(kit: Kit) -> Kit:
    offer(kit, calc())
    return kit


def test_a_client_may_be_asked_only_in_its_own_style(kit: Kit) -> None:
    assert may_ask(sealed(kit, caller=ROUNDS), kit.house, "rounds") == ROUNDS.declared
    assert not may_ask(sealed(kit, caller=ROUNDS), kit.house, "stream")
    assert not may_ask(sealed(kit, caller=Caller(True, "c")), kit.house, "rounds", "stream")


@pytest.mark.parametrize("text", [b"[]", b"7", b"{", b'{"a":1,"a":2}', b'{"a":"\xff"}'])
def test_what_is_no_object_is_no_result(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_object(text, JsonLimits(max_bytes=100))
    with pytest.raises(Refused):
        read_object(b'{"a":"%b"}' % (b"x" * 100), JsonLimits(max_bytes=100))
    assert read_object(b'{ "a" : 1 }', JsonLimits(max_bytes=100)) == ({"a": 1}, b'{"a":1}')


def test_a_tools_result_has_content_and_says_nothing_of_its_era_or_server() -> None:
    meta = {"io.modelcontextprotocol/serverInfo": {"name": "x"}, "a": "b"}
    value: dict[str, Any] = {"content": [], "resultType": "complete", "_meta": meta}
    assert tool_result(None, value, b"") == b'{"content":[],"_meta":{"a":"b"}}'
    assert value == {"content": [], "_meta": {"a": "b"}}
    assert tool_result(None, {"content": []}, b'{"content":[]}') == b'{"content":[]}'
    with pytest.raises(RemoteProtocolError):
        tool_result(None, {"content": {}}, b"")


@pytest.mark.parametrize("size", [0, WORTH_CUTTING])
@pytest.mark.parametrize(
    ("meta", "left"),
    [
        ({META_CALL: "0f", "a": 1}, {"a": 1}),
        ({META_CALL: "0f"}, None),
        ({}, None),
        (None, None),
        ("a", None),
        ({"a": {META_CALL: "0f"}}, {"a": {META_CALL: "0f"}}),
    ],
)
def test_a_plugin_does_not_say_by_which_call_it_answers_and_what_it_says_beside_stands_last(
    meta: Any, left: Any, size: int
) -> None:
    value: dict[str, Any] = {"_meta": meta, "content": ["x" * size], "resultType": "complete"}
    said = tool_result(None, value, json.dumps(value, separators=(",", ":")).encode())
    rest = {"content": ["x" * size]}
    assert list(json.loads(bytes(said)).items()) == list(
        {**rest, **({"_meta": left} if left else {})}.items()
    )
    assert ("_meta" in value) == (left is not None)


def test_a_methods_result_has_its_member_and_no_hint_how_long_to_keep_it() -> None:
    kept: dict[str, Any] = {"contents": [], "ttlMs": 9, "cacheScope": "public", "resultType": "complete"}
    assert method_result("resources/read", {**kept}) == b'{"contents":[]}'
    with pytest.raises(RemoteProtocolError):
        method_result("resources/read", {"messages": []})


def test_a_round_is_for_whoever_takes_rounds_and_asks_or_keeps_something(kit: Kit) -> None:
    asked: dict[str, Any] = {"inputRequests": {"who": QUESTION}, "requestState": "s", "more": 1}
    kinds, text = round_of_questions(sealed(kit, caller=ROUNDS), {**asked}, kit.house)
    assert (kinds, b'"more"' in text) == ({"who": "elicitation"}, False)
    odd: list[tuple[Caller, dict[str, Any]]] = [(STREAM, asked), (ROUNDS, {}), (ROUNDS, {"requestState": 7})]
    for caller, value in odd:
        with pytest.raises(RemoteProtocolError):
            round_of_questions(sealed(kit, caller=caller), {**value}, kit.house)


def test_questions_are_bounded_and_none_has_the_key_of_ours() -> None:
    allowed = frozenset({"elicitation"})
    assert read_questions({"who": QUESTION}, allowed)[0] == {"who": "elicitation"}
    for requests in ({str(n): QUESTION for n in range(MAX_QUESTIONS + 1)}, {"sekisho-approval": QUESTION}):
        with pytest.raises(RemoteProtocolError):
            read_questions(requests, allowed)
    with pytest.raises(Refused):
        read_questions({"who": QUESTION}, frozenset())


@pytest.mark.parametrize("number", [-32002, -32602])
def test_a_resource_that_is_not_there_is_named_as_the_client_named_it(kit: Kit, number: int) -> None:
    theirs: dict[str, Any] = {"code": number, "message": "none", "data": {"uri": "test://theirs"}}
    told = error_body(sealed(kit, "resources/read"), {**theirs}, kit.house)
    assert told["data"] == {"uri": "test://one", "plugin": "calc"}
    told = error_body(sealed(kit, "erase"), {**theirs}, kit.house)
    assert told["data"] == {"uri": "test://theirs", "plugin": "calc"}


_TEXTS = st.sampled_from(["", "complete", '","resultType":"complete"}', '"}', "\\", "x" * 9, "日本"])
_METAS = st.dictionaries(st.sampled_from(["a", "io.modelcontextprotocol/serverInfo"]), _TEXTS, max_size=2)


@given(
    st.permutations(["content", "resultType", "_meta", "structuredContent"]),
    st.sets(st.sampled_from(["resultType", "_meta", "structuredContent"])),
    st.dictionaries(st.sampled_from(["resultType", "_meta", "a"]), _TEXTS | _METAS, max_size=3),
    _METAS,
    _TEXTS,
)
def test_a_large_result_loses_the_same_members_as_a_small_one(
    order: list[str], said: set[str], inner: dict[str, Any], meta: dict[str, Any], text: str
) -> None:
    long = "y" * WORTH_CUTTING + text
    members = {
        "content": [{"type": "text", "text": long}],
        "resultType": "complete",
        "_meta": meta,
        "structuredContent": inner,
    }
    value: dict[str, Any] = {name: members[name] for name in order if name == "content" or name in said}
    emitted = msgspec.json.encode(value)
    left = {name: one for name, one in value.items() if name != "resultType"}
    left["_meta"] = {key: one for key, one in meta.items() if key == "a"}
    if not left["_meta"] or "_meta" not in said:
        del left["_meta"]
    assert msgspec.json.decode(tool_result(None, value, emitted)) == left
    assert value == left
