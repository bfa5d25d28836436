"""A hostile schema can neither reach out nor stop the core, and a refusal repeats nothing of the caller's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.registry import compile_schema
from sekisho.registry.schema import MAX_SCHEMA_DEPTH, MAX_SCHEMA_PARTS

# a busy machine is not a failure: no assertion about the wall clock
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

OPEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "maxLength": 5},
        "many": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["to"],
}
CLOSED: dict[str, Any] = {**OPEN, "additionalProperties": False}
ZOD_EMAIL = (
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
)


def problems(schema: Any, value: Any) -> tuple[str, ...]:
    return compile_schema(schema).problems(value, len(json.dumps(value)))


@pytest.mark.threat("T-ARGUMENTS")
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"to": 7}, ("/to: type",)),
        ({}, ("/: required to",)),
        ({"to": "toolong"}, ("/to: maxLength",)),
        ({"to": "a", "many": [1, "x"]}, ("/many/1: type",)),
        ({"to": "a", "other": 1}, ("/: additionalProperties",)),
        ("text", ("/: type",)),
    ],
)
def test_a_refusal_names_place_and_keyword(value: Any, told: tuple[str, ...]) -> None:
    assert problems(CLOSED, value) == told


def test_unknown_arguments_are_allowed_unless_the_schema_says_no() -> None:
    value = {"to": "a", "other": 1}
    assert problems(OPEN, value) == ()
    assert problems(CLOSED, value) != ()


@pytest.mark.threat("T-LOG")
@PATIENT
@given(secret=st.text("BCDFGHJKLMNPQRSTVWXYZ", min_size=6, max_size=12))
def test_a_refusal_repeats_neither_values_nor_invented_keys(secret: str) -> None:
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["a"]}, "code": {"pattern": "^b$"}},
        "patternProperties": {"^[A-Z]": {"type": "object", "additionalProperties": {"const": 1}}},
        "additionalProperties": False,
    }
    for value in ({"kind": secret}, {"code": secret}, {secret: {secret: 2}}, {secret.lower(): 1}):
        told = " ".join(problems(schema, value))
        assert told
        assert secret not in told
        assert secret.lower() not in told


def test_few_problems_are_told_of_many() -> None:
    assert len(problems({"items": {"type": "string"}}, list(range(1000)))) == 3


def test_a_hidden_character_in_a_property_name_is_made_visible() -> None:
    schema = {"properties": {"a\u202e\x1b": {"type": "string"}}}
    assert problems(schema, {"a\u202e\x1b": 1}) == ("/a⟨U+202E⟩⟨U+001B⟩: type",)


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:9/schema.json",
        "file:///etc/passwd",
        "/etc/passwd",
        "other.json#/a",
        "urn:x:y",
        "",
        "https://json-schema.org/draft/2020-12/schema",
    ],
)
def test_a_reference_that_leaves_the_schema_is_refused(reference: str) -> None:
    schemas: list[Any] = [{"$ref": reference}, {"properties": {"a": {"allOf": [{"$ref": reference}]}}}]
    for schema in schemas:
        with pytest.raises(RemoteProtocolError, match="outside itself"):
            compile_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$dynamicRef": "#x"},
        {"$recursiveRef": "#"},
        {"$ref": "#/$defs/absent"},
        {"$ref": "#absent"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$id": "http://x/y", "$ref": "#"}}},
        {"$schema": "http://127.0.0.1:9/dialect"},
        {"$schema": 7},
        {"type": "objekt"},
        {"pattern": "("},
        {"pattern": "^((a{1000}){1000}){1000}$"},
        [],
        "object",
        True,
        None,
    ],
)
def test_a_schema_that_cannot_judge_is_refused(schema: Any) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        compile_schema(schema)
    assert refusal.value.code == "plugin_protocol"


@pytest.mark.threat("T-FLOOD")
def test_size_and_depth_of_a_schema_are_bounded() -> None:
    with pytest.raises(RemoteProtocolError, match="parts"):
        compile_schema({"enum": list(range(MAX_SCHEMA_PARTS))})
    deep: dict[str, Any] = {}
    for _ in range(MAX_SCHEMA_DEPTH + 1):
        deep = {"not": deep}
    with pytest.raises(RemoteProtocolError, match="deeper"):
        compile_schema(deep)


@pytest.mark.parametrize("dialect", ["2020-12", "2019-09"])
def test_newer_dialects_are_understood(dialect: str) -> None:
    schema = {"$schema": f"https://json-schema.org/draft/{dialect}/schema", "type": "string"}
    assert problems(schema, "a") == ()
    assert problems(schema, 1) == ("/: type",)


def test_the_draft_of_the_older_servers_is_understood() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"name": {"$id": "#name", "type": "string"}},
        "properties": {"a": {"$ref": "#/definitions/name"}, "b": {"items": [{"type": "integer"}]}},
    }
    assert problems(schema, {"a": "x", "b": [1, "free"]}) == ()
    assert problems(schema, {"a": 1, "b": ["x"]}) == ("/a: type", "/b/0: type")


def test_numbers_beyond_a_double_keep_their_digits() -> None:
    assert problems({"maximum": 10**30}, 10**30) == ()
    assert problems({"maximum": 10**30}, 10**30 + 1) == ("/: maximum",)


def test_a_pattern_with_look_around_works() -> None:
    assert problems({"pattern": ZOD_EMAIL}, "a.b@example.com") == ()
    assert problems({"pattern": ZOD_EMAIL}, "a..b@example.com") == ("/: pattern",)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("pattern", ["^(a+)+$", r"^(?=a)(a|aa|a?)+(?!b)\1c$"])
def test_a_pattern_that_explodes_ends_in_a_refusal(pattern: str) -> None:
    assert problems({"pattern": pattern}, "a" * 5000 + "!") == ("/: pattern",)


@pytest.mark.threat("T-FLOOD")
def test_a_value_too_deep_for_a_doubling_schema_is_refused_without_being_tried() -> None:
    doubling = {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "minProperties": 9}] * 2}
    value: dict[str, Any] = {}
    for _ in range(60):
        value = {"a": value}
    assert problems(doubling, value) == ("nested too deeply for this schema",)
    assert problems(doubling, {"a": {}}) != ("nested too deeply for this schema",)


@pytest.mark.threat("T-FLOOD")
def test_a_value_too_large_for_a_dear_schema_is_refused_without_being_tried() -> None:
    dear = {"items": {"anyOf": [{"const": number} for number in range(5_000)]}}
    assert problems(dear, ["x"] * 20_000) == ("too large for this schema",)
    assert problems(dear, [1, 2, 3]) == ()


def test_a_long_text_is_not_mistaken_for_many_values() -> None:
    costly = {"anyOf": [{"const": number} for number in range(500)] + [{"type": "string"}]}
    assert problems(costly, "x" * 1_000_000) == ()
