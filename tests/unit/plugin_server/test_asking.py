from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.plugin_server.asking import (
    MAX_QUESTIONS,
    MAX_STATE_BYTES,
    InputRequired,
    Question,
    State,
    input_required_bytes,
    is_allowed,
    read_input_required,
    read_state,
    url_requests_of_error,
)
from sekisho.plugin_server.input_required import is_input_required

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.dictionaries(TEXT, TEXT, max_size=MAX_QUESTIONS), st.none() | TEXT)
def test_what_is_written_is_read_again(messages: dict[str, str], state: str | None) -> None:
    questions = {
        key: Question("elicitation/create", json.dumps({"message": text}, ensure_ascii=False).encode())
        for key, text in messages.items()
    }
    read = read_input_required(input_required_bytes(questions, state))
    assert read is not None
    assert read.state == state
    assert {key: json.loads(one.params) for key, one in read.questions.items()} == {
        key: {"message": text} for key, text in messages.items()
    }


@given(st.recursive(st.none() | st.booleans() | TEXT, lambda inner: st.dictionaries(TEXT, inner)))
def test_any_other_result_is_no_question(value: Any) -> None:
    result = json.dumps(
        {"resultType": "complete", "value": value, "input_required": "input_required"}
    ).encode()
    assert is_input_required(result)
    assert read_input_required(result) is None


@given(st.binary(max_size=60))
def test_bytes_are_a_question_or_not_or_a_breach_and_nothing_else(middle: bytes) -> None:
    for result in (middle, b'{"resultType":"input_required","inputRequests":{"a":%b}}' % middle):
        try:
            read = read_input_required(result)
        except RemoteProtocolError:
            continue
        assert read is None or isinstance(read, InputRequired)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(
    ("members", "is_taken"),
    [
        ({"requestState": "x" * MAX_STATE_BYTES}, True),
        ({"requestState": "x" * (MAX_STATE_BYTES + 1)}, False),
        ({"inputRequests": {str(n): {"method": "roots/list"} for n in range(MAX_QUESTIONS)}}, True),
        ({"inputRequests": {str(n): {"method": "roots/list"} for n in range(MAX_QUESTIONS + 1)}}, False),
    ],
)
def test_a_question_has_bounds(members: dict[str, Any], is_taken: bool) -> None:
    result = json.dumps({"resultType": "input_required"} | members).encode()
    if is_taken:
        assert read_input_required(result) is not None
    else:
        with pytest.raises(RemoteProtocolError):
            read_input_required(result)


@pytest.mark.parametrize(
    ("method", "params", "may_ask", "is_fine"),
    [
        ("elicitation/create", {}, {"elicitation"}, True),
        ("elicitation/create", {"mode": "form"}, {"elicitation"}, True),
        ("elicitation/create", {"mode": "url"}, {"elicitation"}, False),
        ("elicitation/create", {"mode": "url"}, {"elicitation/url"}, True),
        ("elicitation/create", {"mode": ["form"]}, {"elicitation", "elicitation/url"}, False),
        ("sampling/createMessage", {}, {"sampling"}, True),
        ("sampling/createMessage", {}, {"elicitation"}, False),
        ("sampling/createMessage", {"toolChoice": {}}, {"sampling"}, False),
        ("sampling/createMessage", {"tools": []}, {"sampling", "sampling/tools"}, True),
        ("sampling/createMessage", {}, {"sampling/tools"}, False),
        ("roots/list", {}, {"elicitation", "sampling"}, False),
        ("sampling", {}, {"sampling"}, False),
    ],
)
def test_only_what_was_declared_and_allowed_is_asked(
    method: str, params: dict[str, Any], may_ask: set[str], is_fine: bool
) -> None:
    assert is_allowed(Question(method, json.dumps(params).encode()), may_ask) is is_fine


@pytest.mark.parametrize("text", ["", "{", "[]", "x", '{"roots":7}'])
def test_a_state_that_is_not_ours_is_none(text: str) -> None:
    assert read_state(text) is None


def test_a_state_of_ours_is_read() -> None:
    assert read_state('{"state":"s","roots":["r"]}') == State("s", ["r"])


@pytest.mark.parametrize("error", [b"{}", b"[]", b'{"data":{"elicitations":7}}', b'{"data":7}', b"\xff"])
def test_an_error_without_urls_names_none(error: bytes) -> None:
    assert url_requests_of_error(error) == []
