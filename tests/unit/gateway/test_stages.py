"""A call is one value from the door to the wire: its digest binds all of it, its operation all but its id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.cli.compiled import is_compiled
from sekisho.gateway.caller import Extras
from sekisho.gateway.stages import Call
from sekisho.protocol import PluginName

names = st.text(":0123456789ab", min_size=1, max_size=4)
calls = st.tuples(
    names, names, names, st.dictionaries(names, st.integers(0, 3), max_size=2), st.just("") | names
)


def call(ident: str, plugin: str, tool: str, arguments: dict[str, Any], target: str = "") -> Call:
    return Call.of(ident, PluginName(plugin), tool, arguments, target=target)


@given(calls, calls)
def test_two_calls_share_an_operation_only_if_they_do_the_same(one: Any, other: Any) -> None:
    is_same = one[1:3] == other[1:3] and one[4] == other[4] and list(one[3].items()) == list(other[3].items())
    assert (call(*one).operation == call(*other).operation) == is_same


@given(calls, calls)
def test_no_two_calls_that_would_be_sent_differently_share_a_digest(one: Any, other: Any) -> None:
    is_same = one[:3] == other[:3] and list(one[3].items()) == list(other[3].items())
    assert (call(*one).digest == call(*other).digest) == is_same


def test_what_comes_beside_the_arguments_is_bound_too() -> None:
    plain = call("c1", "calc", "add", {"a": 1})
    digests = {
        plain.carrying(extras).digest
        for extras in (
            Extras(b'{"a":1}'),
            Extras(b"", b'{"a":1}'),
            Extras(b"", b"", '{"a":1}'),
            Extras(b'{"a":1}', b'{"a":1}'),
        )
    }
    assert len(digests | {plain.digest}) == 5
    bound = plain.carrying(Extras(b'{"a":1}'))
    assert (bound.operation, bound.arguments) == (plain.operation, plain.arguments)
    other = call("c1", "calc", "add", {"a": 2}).carrying(Extras(b'{"a":1}'))
    assert other.digest != bound.digest


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_what_is_sent_is_what_was_judged(arguments: dict[str, Any]) -> None:
    assert json.loads(call("c1", "calc", "add", arguments).arguments) == arguments


def test_a_method_is_told_from_a_tool_by_what_it_names() -> None:
    assert call("c1", "calc", "resources/read", {}).is_of_tool
    assert not call("c1", "calc", "resources/read", {"uri": "test://one"}, "test://one").is_of_tool


def test_a_call_is_bare_when_it_is_of_a_tool_and_brings_nothing_but_its_arguments() -> None:
    bare = call("c1", "calc", "add", {})
    assert bare.is_bare
    assert not bare.carrying(Extras(b"{}")).is_bare
    assert not call("c1", "calc", "resources/read", {"uri": "test://one"}, "test://one").is_bare


def test_a_call_that_was_judged_is_still_what_its_text_and_digest_say() -> None:
    one = call("c1", "calc", "add", {"a": 1}).carrying(Extras(b"", b'{"q":1}', "state"))
    digest, operation = one.digest, one.operation
    one.let_go()
    assert (one.parsed, one.arguments, one.size) == ({}, b'{"a":1}', 19)
    assert (one.digest, one.operation, one.is_of_tool) == (digest, operation, True)


@pytest.mark.skipif(not is_compiled(), reason="interpreted, only mypy keeps what is final")
def test_nothing_can_be_changed_in_what_was_judged() -> None:
    one: Any = call("c1", "calc", "add", {"a": 1})
    for name in ("arguments", "digest", "plugin", "tool"):
        with pytest.raises(AttributeError):
            setattr(one, name, getattr(one, name))
