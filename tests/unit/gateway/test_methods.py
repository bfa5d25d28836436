"""Parameters of methods are read member by member: what is forwarded says nothing that was not judged."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.gateway.methods import (
    MAX_COMPLETION_CHARS,
    MAX_NAME_CHARS,
    METHODS,
    params_of,
    read_wanted,
    refuse_near_names,
)
from sekisho.protocol import JsonValue

PROMPT: Final[dict[str, JsonValue]] = {"type": "ref/prompt", "name": "greet"}
TEMPLATE: Final[dict[str, JsonValue]] = {"type": "ref/resource", "uri": "test://{id}"}
VALUE: Final[dict[str, JsonValue]] = {"name": "who", "value": "A"}


@pytest.mark.parametrize(
    ("method", "params", "name", "sent"),
    [
        ("prompts/get", {"name": "greet"}, "greet", {"name": "greet"}),
        ("prompts/get", {"name": "g", "arguments": {"a": "b"}}, "g", {"name": "g", "arguments": {"a": "b"}}),
        ("resources/read", {"uri": "test://one"}, "test://one", {"uri": "test://one"}),
        ("resources/subscribe", {"uri": "test://one"}, "test://one", {"uri": "test://one"}),
        ("resources/unsubscribe", {"uri": "test://one"}, "test://one", {"uri": "test://one"}),
        ("completion/complete", {"ref": PROMPT, "argument": VALUE}, "greet", {"ref": PROMPT, "argument": VALUE}),
        (
            "completion/complete",
            {"ref": TEMPLATE, "argument": VALUE, "context": {"arguments": {"a": "b"}}},
            "test://{id}",
            {"ref": TEMPLATE, "argument": VALUE, "context": {"arguments": {"a": "b"}}},
        ),
    ],
)  # fmt: skip
def test_what_was_asked_is_forwarded_and_members_nobody_knows_are_not(
    method: str, params: dict[str, Any], name: str, sent: dict[str, Any]
) -> None:
    for given_params in (params, {**params, "_meta": {"a": 1}, "extra": {"deep": [1]}}):
        wanted = read_wanted(method, given_params)
        assert wanted.name == name
        assert params_of(method, wanted, name) == sent


def test_a_prompt_is_asked_for_under_the_name_its_plugin_uses() -> None:
    wanted = read_wanted("prompts/get", {"name": "calc__greet"})
    assert params_of("prompts/get", wanted, "greet") == {"name": "greet"}
    wanted = read_wanted("completion/complete", {"ref": {**PROMPT, "name": "calc__greet"}, "argument": VALUE})
    assert params_of("completion/complete", wanted, "greet")["ref"] == PROMPT


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("prompts/get", {}),
        ("prompts/get", {"name": ""}),
        ("prompts/get", {"name": 3}),
        ("prompts/get", {"name": "x" * (MAX_NAME_CHARS + 1)}),
        ("prompts/get", {"name": "g", "arguments": {"a": 1}}),
        ("prompts/get", {"name": "g", "arguments": {"a": {"b": "c"}}}),
        ("prompts/get", {"name": "g", "arguments": ["a"]}),
        ("resources/read", {"uri": None}),
        ("resources/read", {"uri": ["test://one"]}),
        ("completion/complete", {"argument": VALUE}),
        ("completion/complete", {"ref": PROMPT}),
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "a"}, "argument": VALUE}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "a"}, "argument": VALUE}),
        ("completion/complete", {"ref": PROMPT, "argument": {"name": "a"}}),
        ("completion/complete", {"ref": PROMPT, "argument": {"value": "a"}}),
        ("completion/complete", {"ref": PROMPT, "argument": {**VALUE, "value": "x" * (MAX_COMPLETION_CHARS + 1)}}),
        ("completion/complete", {"ref": PROMPT, "argument": VALUE, "context": []}),
        ("completion/complete", {"ref": PROMPT, "argument": VALUE, "context": {"arguments": {"a": 1}}}),
        ("logging/setLevel", {}),
        ("logging/setLevel", {"level": "loud"}),
        ("logging/setLevel", {"level": ["info"]}),
    ],
)  # fmt: skip
def test_parameters_of_another_form_are_refused(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_wanted(method, params)
    assert caught.value.code == "params_invalid"


words = st.sampled_from(["name", "uri", "ref", "argument", "arguments", "value", "type", "level", "context"])
values = st.recursive(
    st.none() | st.integers() | st.sampled_from(["ref/prompt", "ref/resource", "info", "a", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(METHODS)), st.dictionaries(words, values, max_size=5))
def test_whatever_comes_is_read_or_refused_and_what_was_read_reads_the_same_again(
    method: str, params: dict[str, Any]
) -> None:
    try:
        wanted = read_wanted(method, params)
    except RemoteProtocolError:
        return
    if method != "logging/setLevel":
        sent = params_of(method, wanted, wanted.name)
        assert params_of(method, read_wanted(method, sent), wanted.name) == sent


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("name", ["Uri", "URI", "NAME", "argumentſ", "Ref"])
def test_a_member_that_another_reader_takes_for_ours_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        refuse_near_names({"uri": "test://one", name: "test://two"})
    refuse_near_names({"uri": "test://one", "urn": "test://two", "_meta": {}})
