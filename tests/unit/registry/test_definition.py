"""A tool is served as it was pinned; what its object may not do makes it unusable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.names import PluginName
from sekisho.registry import Listing, surface_of
from sekisho.registry.definition import Definition, compile_tool
from sekisho.registry.surface import ItemKind

# Tool of the scenario json-schema-2020-12 in kind: composition, conditions, an anchor (SEP-1613, SEP-2106).
SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "other": {"$ref": "#addressDef"},
        "method": {"type": "string", "enum": ["phone", "email"]},
    },
    "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["address"]}]}],
    "if": {"properties": {"method": {"const": "phone"}}, "required": ["method"]},
    "then": {"required": ["name"]},
    "else": {"required": ["address"]},
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "unknown": {"deep": [1, None]},
    "name": "save",
    "title": "Save",
    "icons": [{"src": "https://a.example/i.png"}],
    "inputSchema": SCHEMA_2020_12,
    "execution": {"taskSupport": "optional"},
    "annotations": {"readOnlyHint": True, "x": 1},
    "_meta": {"ui": {"resourceUri": "ui://save/main.html"}},
}
ANY: dict[str, Any] = {"type": "object"}


def compiled(tool: dict[str, Any]) -> Definition:
    item = surface_of(Listing(tools=(json.dumps(tool).encode(),))).of_kind(ItemKind.TOOL)[0]
    return compile_tool(PluginName("calc"), item)


def test_every_field_is_served_and_only_the_name_is_prefixed() -> None:
    definition = compiled(TOOL)
    for modern in (True, False):
        assert json.loads(definition.piece(prefixed=False, modern=modern)) == TOOL
        prefixed = json.loads(definition.piece(prefixed=True, modern=modern))
        assert prefixed == {**TOOL, "name": "calc__save"}
        assert list(prefixed) == list(TOOL)


@pytest.mark.parametrize(
    ("execution", "needs_task"),
    [
        ({"taskSupport": "required"}, True),
        ({"taskSupport": "optional"}, False),
        ({"taskSupport": ["required"]}, False),
        ("required", False),
        (None, False),
    ],
)
def test_a_tool_needs_a_task_only_if_it_says_so(execution: Any, needs_task: bool) -> None:
    assert compiled({**TOOL, "execution": execution}).needs_task == needs_task


def test_a_schema_with_anchors_and_conditions_judges_calls() -> None:
    arguments = compiled(TOOL).arguments
    assert arguments.problems({"name": "a", "address": {"street": "b"}}, 40) == ()
    assert arguments.problems({"name": "a", "other": {"street": 1}, "address": {}}, 40) != ()
    assert arguments.problems({"address": {}, "method": "phone"}, 40) != ()


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "reference",
    ["http://127.0.0.1:9/s.json", "https://a.example/s", "file:///etc/passwd", "other.json", "//a/s"],
)
def test_no_reference_leaves_the_document(reference: str) -> None:
    for where in ("inputSchema", "outputSchema"):
        schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
        with pytest.raises(RemoteProtocolError, match="outside itself"):
            compiled({"name": "save", "inputSchema": ANY, where: schema})


def test_header_annotations_are_compiled_with_the_tool() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    definition = compiled({"name": "save", "inputSchema": schema})
    assert definition.headers.headers({"region": "eu"}) == (("Mcp-Param-Region", "eu"),)
    assert not compiled(TOOL).headers


@pytest.mark.parametrize(
    "annotated",
    [
        {"type": "object", "x-mcp-header": "A"},
        {"type": "string", "x-mcp-header": "a b"},
        {"type": "string", "x-mcp-header": ""},
        {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}},
    ],
)
def test_a_tool_with_invalid_header_annotations_may_not_be_called(annotated: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        compiled({"name": "save", "inputSchema": {"type": "object", "properties": {"a": annotated}}})
    assert refusal.value.code == "plugin_protocol"


@pytest.mark.parametrize(
    "output", [{"type": "array"}, {"anyOf": [ANY, {"type": "null"}]}, {"type": ["object"]}]
)
def test_only_modern_clients_are_shown_an_output_schema_for_anything_but_objects(
    output: dict[str, Any],
) -> None:
    tool = {"name": "save", "inputSchema": ANY, "outputSchema": output}
    definition = compiled(tool)
    assert json.loads(definition.piece(prefixed=False, modern=True)) == tool
    assert json.loads(definition.piece(prefixed=False, modern=False)) == {"name": "save", "inputSchema": ANY}
    assert json.loads(definition.piece(prefixed=True, modern=False)) == {
        "name": "calc__save",
        "inputSchema": ANY,
    }
    object_tool = {**tool, "outputSchema": ANY}
    assert json.loads(compiled(object_tool).piece(prefixed=False, modern=False)) == object_tool
