"""What a client says of itself only ever narrows what a plugin may do with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.gateway import caller as module
from sekisho.gateway.caller import (
    ASKABLE,
    LOG_LEVELS,
    MAX_META_BYTES,
    NO_EXTRAS,
    Caller,
    Contexts,
    Extras,
    declared_by,
    instance_of,
    modern_caller,
    scope_of,
    spread,
)
from sekisho.protocol import Envelope
from sekisho.wire import decode_context

LEVEL = "io.modelcontextprotocol/logLevel"
ALL = frozenset(ASKABLE)
subsets = st.frozensets(st.sampled_from(sorted(ASKABLE)))


def shape(**capabilities: Any) -> Envelope:
    return Envelope(modern=True, version="2026-07-28", capabilities=capabilities)


@pytest.mark.parametrize(
    ("capabilities", "declared"),
    [
        ({}, set()),
        ({"elicitation": {}}, {"elicitation"}),
        ({"elicitation": {"form": {}}}, {"elicitation"}),
        ({"elicitation": {"url": {}}}, {"elicitation/url"}),
        ({"elicitation": {"form": {}, "url": {}}}, {"elicitation", "elicitation/url"}),
        ({"sampling": {}}, {"sampling"}),
        ({"sampling": {"tools": {}}}, {"sampling", "sampling/tools"}),
        ({"roots": {"listChanged": True}}, {"roots"}),
        ({"elicitation": True, "sampling": [], "roots": None, "tasks": {}, "SAMPLING": {}}, set()),
    ],
)
def test_what_a_client_declared_is_what_it_can_be_asked(capabilities: Any, declared: set[str]) -> None:
    assert declared_by(capabilities) == declared


@pytest.mark.parametrize(
    ("extensions", "declared"),
    [
        ({"io.modelcontextprotocol/tasks": {}}, {"tasks"}),
        ({"io.modelcontextprotocol/ui": {"mimeTypes": []}}, {"apps"}),
        ({"io.modelcontextprotocol/other": {}}, set()),
        ({"io.modelcontextprotocol/tasks": True}, set()),
        ({"tasks": {}}, set()),
        (["io.modelcontextprotocol/tasks"], set()),
        (None, set()),
    ],
)
def test_a_client_knows_an_extension_if_this_very_request_declares_it(
    extensions: Any, declared: set[str]
) -> None:
    assert modern_caller("aya", shape(extensions=extensions), {}).declared == declared
    assert declared_by({"extensions": extensions}) == set()


@given(subsets, subsets)
def test_a_plugin_may_ask_what_was_declared_and_allowed_and_never_more(
    declared: frozenset[str], allowed: frozenset[str]
) -> None:
    one = Caller(False, "s", "stream", declared)
    assert one.may_be_asked(allowed) == declared & allowed
    told = decode_context(Contexts().of(one, allowed))
    assert set(told.may_ask) == declared & allowed
    assert (told.scope, told.style) == ("s", "stream")


def test_of_a_client_that_can_be_asked_nothing_there_is_nothing_to_say() -> None:
    plain = modern_caller("aya", shape(), {})
    assert plain.is_plain(ALL)
    assert modern_caller("aya", shape(elicitation={}), {}).is_plain(frozenset())
    assert not modern_caller("aya", shape(elicitation={}), {}).is_plain(ALL)
    assert not modern_caller("aya", shape(), {LEVEL: "info"}).is_plain(ALL)
    legacy = Caller(False, "s", "stream", frozenset({"sampling"}))
    assert legacy.is_plain(frozenset({"elicitation"}))
    assert not legacy.is_plain(ALL)
    # but who is remembered all the same has a scope of its own
    assert decode_context(Contexts().of(plain, ALL)).scope == plain.scope


@pytest.mark.interpreted
def test_a_context_is_written_once_and_the_memory_of_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONTEXTS", 2)
    contexts = Contexts()
    first = contexts.of(Caller(False, "s1", "stream"), ALL)
    assert contexts.of(Caller(False, "s1", "stream"), ALL) is first
    for number in range(5):
        contexts.of(Caller(False, f"t{number}", "stream"), ALL)
    again = contexts.of(Caller(False, "s1", "stream"), ALL)
    assert again == first
    assert again is not first


@pytest.mark.threat("T-FLOOD")
@pytest.mark.interpreted
def test_how_many_contexts_are_found_by_one_look_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONTEXTS", 4)
    contexts = Contexts()
    for number in range(20):
        contexts.keep(Caller(False, f"s{number}", "stream"), contexts, b"{}")
    assert len(contexts.latest) <= 4


def test_what_came_with_a_request_is_sent_with_it_and_kept_for_no_other() -> None:
    contexts, one = Contexts(), modern_caller("aya", shape(elicitation={}), {})
    extras = Extras(b'{"traceparent":"00-1"}', b'{"q":{"action":"cancel"}}', "st")
    told = decode_context(contexts.of(one, ALL, extras))
    assert json.loads(bytes(told.meta)) == {"traceparent": "00-1"}
    assert json.loads(bytes(told.input_responses)) == {"q": {"action": "cancel"}}
    assert told.request_state == "st"
    plain = decode_context(contexts.of(one, ALL, NO_EXTRAS))
    assert (bytes(plain.meta), bytes(plain.input_responses), plain.request_state) == (b"", b"", None)


@pytest.mark.threat("T-CROSS")
@given(st.text(), st.text())
def test_no_two_clients_or_sessions_share_a_scope_and_a_scope_tells_nothing(one: str, other: str) -> None:
    scopes = {scope_of("client", one), scope_of("session", one), scope_of("client", other)}
    assert len(scopes) == (2 if one == other else 3)
    assert all(len(scope) == 32 for scope in scopes)


def test_the_scope_of_a_modern_client_is_that_of_its_name_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_CONTEXTS", 2)
    for name in ("aya", "ben", "cem", "aya"):
        assert modern_caller(name, shape(), {}).scope == scope_of("client", name)


@pytest.mark.parametrize("level", ["loud", "INFO", "", 3, True, [], {}])
def test_a_log_level_is_one_of_mcp(level: object) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        modern_caller("aya", shape(), {LEVEL: level})  # type: ignore[dict-item]  # it may be anything
    assert caught.value.code == "params_invalid"
    for good in LOG_LEVELS:
        assert modern_caller("aya", shape(), {LEVEL: good}).log_level == good


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_of_a_clients_meta_a_plugin_gets_what_is_neither_ours_nor_the_progress_token(meta: Any) -> None:
    given_meta = {**meta, "progressToken": "t", "io.modelcontextprotocol/x": 1, LEVEL: "info"}
    text = spread(given_meta)
    assert (json.loads(text) if text else {}) == {
        name: meta[name] for name in meta if name != "progressToken"
    }


@pytest.mark.threat("T-FLOOD")
def test_meta_is_bounded() -> None:
    assert len(spread({"a": "x" * (MAX_META_BYTES - 8)})) == MAX_META_BYTES
    with pytest.raises(RemoteProtocolError):
        spread({"a": "x" * (MAX_META_BYTES - 7)})


@pytest.mark.threat("T-CROSS")
def test_an_instance_is_named_by_its_client_or_its_session() -> None:
    legacy, other = Caller(False, "s1", "stream"), Caller(False, "s2", "stream")
    modern = modern_caller("aya", shape(), {})
    assert {instance_of("shared", "aya", one) for one in (legacy, modern, None)} == {""}
    assert {instance_of("client", "aya", one) for one in (legacy, other, modern, None)} == {modern.scope}
    assert instance_of("client", "bob", legacy) != modern.scope
    assert [instance_of("session", "aya", one) for one in (legacy, other)] == ["s1", "s2"]
    assert {instance_of("session", "aya", one) for one in (modern, None)} == {modern.scope}


def test_the_instance_is_told_even_of_a_client_of_whom_nothing_else_is() -> None:
    contexts, one = Contexts(), modern_caller("aya", shape(), {})
    told = contexts.of(one, ALL, instance="i1")
    assert decode_context(told).instance == "i1"
    assert contexts.of(one, ALL, instance="i1") is told
    assert decode_context(contexts.of(one, ALL, instance="i2")).instance == "i2"
    assert decode_context(contexts.of(one, ALL, Extras(b"{}"), instance="i1")).instance == "i1"
    assert decode_context(contexts.of(one, ALL)).instance == ""
