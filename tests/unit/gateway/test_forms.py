"""Forms of plugins are shown in members that were read: flat, bounded, nothing to be fetched."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import ElicitRequest

from sekisho.errors import RemoteProtocolError
from sekisho.gateway.forms import MAX_CHOICES, MAX_FIELDS, MAX_TEXT_CHARS, read_form
from sekisho.protocol import JsonValue

# Every kind of field of MCP 2025-11-25, client/elicitation.
HONEST: dict[str, Any] = {
    "name": {"type": "string", "title": "Name", "description": "Yours", "minLength": 1, "maxLength": 9},
    "mail": {"type": "string", "format": "email", "default": "aya@example.org"},
    "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 30},
    "height": {"type": "number", "minimum": 0.5},
    "agrees": {"type": "boolean", "default": False},
    "colour": {"type": "string", "enum": ["r", "g"], "enumNames": ["red", "green"], "default": "r"},
    "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}, {"const": "l"}]},
    "days": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "enum": ["mo", "tu"]}},
    "tags": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}, "default": ["a"]},
}  # fmt: skip


def form(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def test_every_kind_of_field_that_mcp_knows_is_shown_as_it_was_written() -> None:
    whole = {**form(**HONEST), "required": ["name", "agrees"]}
    assert read_form(whole) == whole


def test_members_that_mcp_does_not_know_are_not_shown() -> None:
    odd = {"type": "string", "$ref": "https://evil.example/", "properties": {"a": {}}, "x-run": 1}
    odd["format"] = "password"
    assert read_form({**form(a=odd), "allOf": [{"type": "string"}], "$id": "x", "title": "T"}) == form(
        a={"type": "string"}
    )


@pytest.mark.parametrize(
    "field",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "array", "items": {"type": "object"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "string", "enum": ["a"]}}},
        {"type": "array"},
        {"type": ["string", "object"]},
        {"type": "null"},
        {"$ref": "#/properties/a"},
        {"type": "string", "title": {"type": "object"}},
        {"type": "string", "default": ["a"]},
        {"type": "string", "minLength": "9"},
        {"type": "integer", "minimum": True},
        {"type": "string", "enum": [{"a": 1}]},
        {"type": "string", "enum": "ab"},
        {"type": "string", "oneOf": [{"type": "object"}]},
        {"type": "string", "oneOf": {}},
        {"type": "string", "oneOf": []},
        {"type": "string", "enum": []},
        {"type": "array", "items": {"anyOf": []}},
        {"type": "string", "minLength": -1},
        {"type": "array", "items": {"enum": ["a"]}, "maxItems": 1.5},
        "string",
        None,
    ],
)
def test_a_form_that_is_not_flat_is_refused(field: JsonValue) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_form(form(a=field))
    assert caught.value.code == "plugin_protocol"


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "a",
        {},
        {"type": "array", "properties": {}},
        {"properties": []},
        {"properties": {}, "required": "a"},
        {"properties": {}, "required": [1]},
    ],
)
def test_what_is_no_form_is_refused(schema: JsonValue) -> None:
    with pytest.raises(RemoteProtocolError):
        read_form(schema)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("more", [0, 1])
def test_a_form_has_a_bounded_number_of_fields_choices_and_characters(more: int) -> None:
    letters = "x" * (MAX_TEXT_CHARS + more)
    for large in (
        form(**{f"f{n}": {"type": "string"} for n in range(MAX_FIELDS + more)}),
        form(a={"type": "string", "enum": ["a"] * (MAX_CHOICES + more)}),
        form(a={"type": "string", "oneOf": [{"const": "a"}] * (MAX_CHOICES + more)}),
        form(a={"type": "string", "title": letters}),
        form(**{letters: {"type": "string"}}),
    ):
        if more:
            with pytest.raises(RemoteProtocolError):
                read_form(large)
        else:
            assert read_form(large) == large


def test_required_fields_are_fields_of_the_form() -> None:
    read = read_form({**form(a={"type": "string"}), "required": ["a", "ghost", "a"]})
    assert read["required"] == ["a"]


MEMBERS = [
    *("type", "properties", "items", "enum", "oneOf", "anyOf", "const", "title"),
    *("minimum", "minLength", "maxItems", "default"),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), json_values, max_size=3), json_values)
def test_whatever_is_read_is_a_flat_schema_and_reads_the_same_again(fields: Any, schema: Any) -> None:
    for given_schema in (form(**fields), schema):
        try:
            read = read_form(given_schema)
        except RemoteProtocolError:
            continue
        # object, properties, field, (items,) list of choices, choice
        assert depth(read) <= 6
        assert read_form(read) == read
        jsonschema_rs.meta.validate(json.loads(json.dumps(read)))


def test_a_form_of_every_kind_fits_the_published_schema() -> None:
    read = read_form(form(**HONEST))
    params = {"message": "Who are you?", "requestedSchema": read}
    request = ElicitRequest.model_validate({"method": "elicitation/create", "params": params})
    assert request.model_dump(by_alias=True, exclude_none=True)["params"]["requestedSchema"] == read
