"""The work a schema can cause is known before it is caused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.registry.schema_cost import MAX_EVALUATIONS, MAX_VALUE_DEPTH, cost_of

# a busy machine is not a failure: no assertion about the wall clock
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Ordinary recursive schemas: each may be used at any depth.
ANY_JSON: dict[str, Any] = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "additionalProperties": {"$ref": "#"}},
    ]
}
BINARY_TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": {"type": "integer"}},
}
FILTER: dict[str, Any] = {
    "$ref": "#/$defs/filter",
    "$defs": {
        "filter": {
            "oneOf": [
                {"properties": {"and": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}},
                {"properties": {"or": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}},
                {"properties": {"field": {"type": "string"}}},
            ]
        }
    },
}
ANCHORED: dict[str, Any] = {"$anchor": "node", "properties": {"next": {"$ref": "#node"}}}
ESCAPED: dict[str, Any] = {
    "properties": {"a": {"$ref": "#/$defs/x~1y%20z"}, "b": {"$ref": "#/prefixItems/0"}},
    "prefixItems": [{"type": "string"}],
    "$defs": {"x/y z": {"type": "string"}},
}


@pytest.mark.parametrize("schema", [{}, ANY_JSON, BINARY_TREE, FILTER, ANCHORED, ESCAPED])
def test_ordinary_schemas_may_be_used_at_any_depth(schema: dict[str, Any]) -> None:
    cost = cost_of(schema)
    assert cost.max_depth == MAX_VALUE_DEPTH
    assert cost.evaluations <= 1000


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_that_double_in_place_are_refused(keyword: str) -> None:
    steps: dict[str, Any] = {f"s{n}": {keyword: [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(40)}
    with pytest.raises(RemoteProtocolError, match="multiply"):
        cost_of({"$ref": "#/$defs/s0", "$defs": {**steps, "s40": {}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"not": {"$ref": "#"}},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"dependencies": {"a": {"$ref": "#"}, "b": ["a"]}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    ],
)
def test_references_in_circles_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="multiply"):
        cost_of(schema)


@pytest.mark.parametrize(
    "twice",
    [
        {"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]},
        {"properties": {"a": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}},
        {"properties": {"a": {"$ref": "#"}}, "patternProperties": {"a": {"$ref": "#"}}},
        {"items": {"$ref": "#"}, "contains": {"$ref": "#"}},
        {"items": [{"$ref": "#"}], "contains": {"$ref": "#"}},
        {"allOf": [{"items": {"$ref": "#"}}], "items": {"$ref": "#"}},
    ],
)
def test_a_schema_that_doubles_with_each_level_gets_a_depth_it_can_afford(twice: dict[str, Any]) -> None:
    cost = cost_of(twice)
    assert 5 <= cost.max_depth < 20
    assert cost.evaluations <= MAX_EVALUATIONS


def test_nested_unevaluated_properties_count_more() -> None:
    plain = cost_of({"allOf": [{"properties": {"a": {}}}]})
    looking_back = cost_of({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False})
    assert looking_back.evaluations > plain.evaluations


@pytest.mark.parametrize("reference", ["#/absent", "#/anyOf/7", "#/anyOf/x", "#/anyOf/0/deeper", "#absent"])
def test_a_reference_to_nothing_is_refused(reference: str) -> None:
    with pytest.raises(RemoteProtocolError, match="does not have"):
        cost_of({"anyOf": [True, {"$ref": reference}]})


@PATIENT
@given(copies=st.integers(1, 50))
def test_more_alternatives_never_cost_less(copies: int) -> None:
    fewer = cost_of({"items": {"anyOf": [{"type": "string"}] * copies}})
    more = cost_of({"items": {"anyOf": [{"type": "string"}] * (copies + 1)}})
    assert more.evaluations > fewer.evaluations
