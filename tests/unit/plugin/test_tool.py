"""A tool as its signature says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import jsonschema_rs
import pytest

from sekisho.plugin import InvalidParameters, Range, tool
from sekisho.plugin.call import Call
from sekisho.plugin.hints import HintUnknown
from sekisho.plugin.tool import declared


class Sum(TypedDict):
    """A record of the tests."""

    sum: int


class Calculator:
    @tool(title="Add", read_only=True, open_world=False)
    def add(self, a: int, call: Call, b: Annotated[int, Range(0, 5), "The second."] = 2) -> Sum:
        """Add two numbers."""
        call.check()
        return {"sum": a + b}

    def not_a_tool(self) -> None: ...

    @tool()
    async def wipe(self) -> str:
        """Wipe everything."""
        return "done"


def test_the_definition_says_what_the_signature_says() -> None:
    definition: dict[str, Any] = declared(Calculator())["add"].definition()
    assert definition == {
        "name": "add",
        "title": "Add",
        "description": "Add two numbers.",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "a": {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1},
                "b": {"type": "integer", "minimum": 0, "maximum": 5, "description": "The second."},
            },
            "additionalProperties": False,
            "required": ["a"],
        },
        "outputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"sum": {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1}},
            "additionalProperties": False,
            "required": ["sum"],
        },
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    }
    for key in ("inputSchema", "outputSchema"):
        jsonschema_rs.meta.validate(definition[key])


def test_a_tool_that_says_nothing_of_its_effect_is_taken_for_the_worst() -> None:
    tools = declared(Calculator())
    assert list(tools) == ["add", "wipe"]
    assert tools["wipe"].definition()["annotations"] == {
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": False,
        "openWorldHint": True,
    }
    assert tools["wipe"].is_async


def test_an_older_revision_is_told_less() -> None:
    definition = declared(Calculator())["add"].definition(knows_output=False, knows_annotations=False)
    assert set(definition) == {"name", "description", "inputSchema"}


def test_a_client_cannot_fill_what_the_framework_fills() -> None:
    add = declared(Calculator())["add"]
    assert add.bound({"a": 1}, Call())() == {"sum": 3}
    with pytest.raises(InvalidParameters):
        add.bound({"a": 1, "call": None}, Call())


def _silent(self: Any) -> str:
    return ""


def _untyped(self: Any, a) -> str:  # type: ignore[no-untyped-def]  # the mistake under test
    """Untyped."""
    return str(a)


def _starred(self: Any, *many: str) -> str:
    """Starred."""
    return str(many)


def _gives_anything(self: Any) -> object:
    """Gives anything."""
    return self


@pytest.mark.parametrize("method", [_silent, _untyped, _starred, _gives_anything])
def test_a_tool_that_says_too_little_is_refused_when_the_plugin_is_made(
    method: Callable[..., object],
) -> None:
    plugin = type("Careless", (), {"careless": tool()(method)})
    with pytest.raises(HintUnknown, match="careless"):
        declared(plugin())


def test_a_tool_needs_no_parentheses_where_it_says_nothing_more() -> None:
    class Plain:
        @tool
        def bare(self) -> str:
            """Bare."""
            return "x"

        @tool()
        def called(self) -> str:
            """Called."""
            return "x"

    bare, called = declared(Plain()).values()
    assert (bare.name, bare.traits) == ("bare", called.traits)
    assert bare.run() == "x"
