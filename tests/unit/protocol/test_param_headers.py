"""Arguments repeated as headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import (
    find_invalid_x_mcp_header,
    mcp_param_headers,
    validate_mcp_param_headers,
    x_mcp_header_map,
)

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import HeaderPlan, compile_headers

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "plain": {"type": "string"},
        "where": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}},
    },
}
PLAN = compile_headers(SCHEMA)


def told(arguments: dict[str, Any], plan: HeaderPlan = PLAN) -> dict[str, str]:
    return {name.lower(): value for name, value in plan.headers(arguments)}


def test_annotated_arguments_are_repeated_and_others_are_not() -> None:
    arguments: dict[str, Any] = {
        "region": "eu",
        "count": 3,
        "dry": False,
        "plain": "x",
        "where": {"zone": "b"},
    }
    assert dict(PLAN.headers(arguments)) == {
        "Mcp-Param-Region": "eu",
        "Mcp-Param-Count": "3",
        "Mcp-Param-Dry": "false",
        "Mcp-Param-Zone": "b",
    }
    assert PLAN.mismatch(arguments, told(arguments)) is None


@pytest.mark.parametrize("arguments", [{}, {"region": None}, {"where": "zone"}, {"region": []}])
def test_an_argument_that_is_absent_null_or_no_scalar_has_no_header(arguments: dict[str, Any]) -> None:
    assert PLAN.headers(arguments) == ()
    assert PLAN.mismatch(arguments, {}) is None


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, {"mcp-param-region": "us"}),
        ({"region": "eu"}, {}),
        ({}, {"mcp-param-region": "eu"}),
        ({"region": None}, {"mcp-param-region": "null"}),
        ({"region": ["eu"]}, {"mcp-param-region": "['eu']"}),
        ({"region": "eu"}, {"mcp-param-region": "=?base64?ZXV=?="}),
        ({"dry": True}, {"mcp-param-dry": "True"}),
        ({"dry": True}, {"mcp-param-dry": "1"}),
        ({"count": True}, {"mcp-param-count": "1"}),
        ({"count": 9007199254740993}, {"mcp-param-count": "9007199254740992"}),
        ({"count": 42}, {"mcp-param-count": "42.5"}),
        ({"count": 42}, {"mcp-param-count": "4.2e1"}),
        ({"count": 42}, {"mcp-param-count": " 42"}),
        ({"region": "42"}, {"mcp-param-region": "42.0"}),
    ],
)
def test_a_header_that_tells_another_story_is_named(
    arguments: dict[str, Any], headers: dict[str, str]
) -> None:
    assert PLAN.mismatch(arguments, headers) in {"Mcp-Param-Region", "Mcp-Param-Dry", "Mcp-Param-Count"}


@pytest.mark.parametrize(("value", "header"), [(42, "42"), (42, "42.0"), (42.0, "42"), (-1, "-1")])
def test_whole_numbers_compare_as_numbers(value: float, header: str) -> None:
    assert PLAN.mismatch({"count": value}, {"mcp-param-count": header}) is None


def test_a_value_that_no_header_can_carry_is_encoded() -> None:
    assert told({"region": "a\r\nX: y"}) == {"mcp-param-region": "=?base64?YQ0KWDogeQ==?="}


def _of(annotated: object) -> dict[str, object]:
    return {"type": "object", "properties": {"a": annotated}}


INVALID = [
    _of({"type": "number", "x-mcp-header": "A"}),
    _of({"type": ["string", "null"], "x-mcp-header": "A"}),
    _of({"x-mcp-header": "A"}),
    _of({"type": "object", "x-mcp-header": "A"}),
    _of({"type": "string", "x-mcp-header": ""}),
    _of({"type": "string", "x-mcp-header": "A B"}),
    _of({"type": "string", "x-mcp-header": "A:\r\nB"}),
    _of({"type": "string", "x-mcp-header": 1}),
    _of({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
    _of({"anyOf": [{"type": "string", "x-mcp-header": "A"}]}),
    {"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
    {"type": "string", "x-mcp-header": "A"},
    {"if": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}},
    {
        "properties": {
            "a": {"type": "string", "x-mcp-header": "Same"},
            "b": {"type": "string", "x-mcp-header": "sAME"},
        }
    },
]


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("schema", INVALID)
def test_an_annotation_that_cannot_be_honoured_is_refused(schema: dict[str, Any]) -> None:
    assert find_invalid_x_mcp_header(schema) is not None  # the SDK says so too
    with pytest.raises(RemoteProtocolError) as caught:
        compile_headers(schema)
    assert caught.value.code == "plugin_protocol"


def test_too_many_annotations_are_refused() -> None:
    properties = {f"p{n}": {"type": "string", "x-mcp-header": f"P{n}"} for n in range(64)}
    assert len(compile_headers({"properties": properties}).params) == 64
    properties["more"] = {"type": "string", "x-mcp-header": "More"}
    with pytest.raises(RemoteProtocolError):
        compile_headers({"properties": properties})


@pytest.mark.parametrize(
    "schema", [None, True, [], {}, {"properties": 1}, _of({"default": {"x-mcp-header": 1}}), _of(True)]
)
def test_what_has_no_annotation_has_an_empty_plan(schema: object) -> None:
    assert not compile_headers(schema)


def test_a_schema_nested_thousands_deep_is_walked() -> None:
    schema: dict[str, Any] = {"type": "string", "x-mcp-header": "Deep"}
    for _ in range(5_000):
        schema = {"properties": {"a": schema}}
    assert len(compile_headers(schema).params[0].path) == 5_000


SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text() | st.just([])
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "region": SCALARS,
        "count": SCALARS | st.floats(-(2**52), 2**52).map(float.__floor__).map(float),
        "dry": SCALARS,
        "where": st.fixed_dictionaries({}, optional={"zone": SCALARS}) | SCALARS,
    },
)


@given(ARGUMENTS)
def test_what_we_send_is_what_we_accept_and_what_the_sdk_accepts(arguments: dict[str, Any]) -> None:
    assert PLAN.mismatch(arguments, told(arguments)) is None
    assert validate_mcp_param_headers(SCHEMA, arguments, dict(PLAN.headers(arguments))) is None


@given(ARGUMENTS)
def test_what_the_sdk_sends_is_accepted(arguments: dict[str, Any]) -> None:
    sent = mcp_param_headers(x_mcp_header_map(SCHEMA), arguments)
    assert PLAN.mismatch(arguments, {name.lower(): value for name, value in sent.items()}) is None


@given(ARGUMENTS, ARGUMENTS)
def test_headers_of_other_arguments_are_refused(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (PLAN.mismatch(one, told(other)) is None) == (told(one) == told(other))
