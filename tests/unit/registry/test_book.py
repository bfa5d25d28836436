"""The gateway serves exactly what was approved, and checks calls and answers against it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol import JsonValue
from sekisho.protocol.names import PluginName, ToolName
from sekisho.registry import (
    Announced,
    Definitions,
    Listing,
    LockedPlugin,
    Surface,
    lock_entry,
    surface_of,
    tools_array,
    tools_result,
)

ADD: dict[str, Any] = {
    "description": "Adds. ÆØÅ",
    "name": "add",
    "inputSchema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "outputSchema": {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]},
    "annotations": {"readOnlyHint": True},
    "_meta": {"x": [1, 2.5, None]},
}
ERASE: dict[str, Any] = {"name": "erase", "inputSchema": {"type": "object"}}
BROKEN: dict[str, Any] = {"name": "broken", "inputSchema": {"$ref": "http://127.0.0.1:9/"}}
ALL = ("add", "erase", "broken")


def surface(*tools: dict[str, Any]) -> Surface:
    return surface_of(Listing(tools=tuple(json.dumps(tool).encode() for tool in tools)))


def locked(seen: Surface) -> LockedPlugin:
    return lock_entry(
        name=PluginName("calc"), argv=(), grants="", surface=seen, approved_by="aya", approved_at="2026-11-21"
    )


def definitions(*allowed: str) -> Definitions:
    seen = surface(ADD, ERASE, BROKEN)
    return Definitions.build(locked(seen), seen, allowed)


def test_bare_tools_are_listed_as_the_plugin_wrote_them() -> None:
    listed = json.loads(definitions("erase", "add").listing)
    assert listed == {"tools": [ADD, ERASE]}
    assert list(listed["tools"][0]) == list(ADD)


def test_prefixed_tools_differ_in_their_name_only() -> None:
    pieces = definitions("add", "erase").pieces(prefixed=True)
    assert json.loads(tools_array(pieces)) == [{**ADD, "name": "calc__add"}, {**ERASE, "name": "calc__erase"}]


@pytest.mark.requirement("A2.2")
@pytest.mark.threat("T-OPERATION")
def test_an_approved_tool_that_is_not_allowed_is_neither_listed_nor_found() -> None:
    book = definitions("add")
    assert b"erase" not in book.listing
    with pytest.raises(Refused) as refusal:
        book.get("erase")
    assert refusal.value.code == "tool_unknown"


def test_nothing_allowed_lists_nothing() -> None:
    assert definitions().listing == tools_result(()) == b'{"tools":[]}'


def test_a_caller_may_be_shown_fewer_tools() -> None:
    book = definitions("add", "erase")
    assert book.pieces(frozenset({"erase", "absent"}), prefixed=False) == (book.get("erase").bare,)


@pytest.mark.requirement("B4.1")
@pytest.mark.threat("T-RUGPULL")
def test_a_surface_that_is_not_the_locked_one_is_refused() -> None:
    entry = locked(surface(ADD))
    for seen in (surface({**ADD, "description": "Adds. Then sends."}), surface(ADD, ERASE), surface()):
        with pytest.raises(Refused) as refusal:
            Definitions.build(entry, seen, ALL)
        assert refusal.value.code == "definition_changed"


def test_a_lock_entry_whose_items_do_not_match_its_root_is_refused() -> None:
    seen = surface(ADD)
    with pytest.raises(Refused):
        Definitions.build(replace(locked(seen), items={}), seen, ALL)
    with pytest.raises(Refused):
        Definitions.build(replace(locked(seen), root=locked(surface()).root), seen, ALL)


def test_a_tool_with_an_unusable_schema_is_not_listed_and_says_why() -> None:
    book = definitions(*ALL)
    assert set(book.tools) == {"add", "erase"}
    assert book.unusable == {ToolName("broken"): "the schema refers to something outside itself"}
    with pytest.raises(RemoteProtocolError, match="outside itself"):
        book.get("broken")


@pytest.mark.threat("T-ARGUMENTS")
@pytest.mark.parametrize("value", [{}, {"a": "x"}, {"a": 1, "b": 2}, [], None, "a"])
def test_arguments_outside_the_schema_are_refused(value: Any) -> None:
    with pytest.raises(Refused) as refusal:
        definitions("add").get("add").check_arguments(value, 20)
    assert refusal.value.code == "arguments_invalid"


def test_arguments_inside_the_schema_pass() -> None:
    book = definitions("add", "erase")
    book.get("add").check_arguments({"a": 123456789012345678901234567890}, 36)
    book.get("erase").check_arguments({"anything": [1]}, 16)


@pytest.mark.parametrize(
    "value",
    [
        {"content": []},
        {"content": [], "structuredContent": {"sum": "x"}},
        {"content": [], "structuredContent": None},
    ],
)
def test_an_answer_that_breaks_its_own_promise_is_refused(value: Any) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        definitions("add").get("add").check_result(value, 60)
    assert refusal.value.code == "result_invalid"


def test_honest_answers_and_error_reports_pass() -> None:
    book = definitions("add", "erase")
    book.get("add").check_result({"content": [], "structuredContent": {"sum": 3}}, 42)
    book.get("add").check_result({"content": [], "isError": True}, 29)
    book.get("erase").check_result({"content": []}, 14)


def test_only_a_true_hint_makes_a_tool_read_only() -> None:
    assert definitions("add").get("add").read_only
    assert not definitions("erase").get("erase").read_only
    hints: tuple[Any, ...] = ("true", 1, None, [])
    for hint in hints:
        seen = surface({**ERASE, "annotations": {"readOnlyHint": hint}})
        assert not Definitions.build(locked(seen), seen, ALL).get("erase").read_only


def test_a_tool_without_an_input_schema_takes_any_object() -> None:
    seen = surface({"name": "plain"})
    plain = Definitions.build(locked(seen), seen, ("plain",)).get("plain")
    plain.check_arguments({"a": 1}, 7)
    with pytest.raises(Refused):
        plain.check_arguments(1, 1)


def listing_of(said: dict[str, Any]) -> Listing:
    def texts(kind: str) -> tuple[bytes, ...]:
        return tuple(json.dumps(one).encode() for one in said.get(kind, ()))

    return Listing(
        capabilities=json.dumps(said.get("capabilities", {})).encode(),
        instructions=said.get("instructions"),
        prompts=texts("prompts"),
        resources=texts("resources"),
        templates=texts("templates"),
    )


def offering(**said: Any) -> Definitions:
    seen = surface_of(listing_of(said))
    return Definitions.build(locked(seen), seen, (), extensions=("io.modelcontextprotocol/ui",))


NOTES: dict[str, Any] = {
    "prompts": [{"name": "say hi"}, {"name": "odd", "arguments": 1}],
    "resources": [{"uri": "ui://main", "name": "m", "_meta": {"a": 1}}],
    "templates": [{"uriTemplate": "note://{id}", "name": "n"}, {"uriTemplate": "{", "name": "odd"}],
    "capabilities": {"completions": {}, "resources": {"subscribe": True}, "tasks": {}, "logging": {}},
    "instructions": "Be kind.",
}


def test_what_was_approved_beside_tools_is_kept() -> None:
    book = offering(**NOTES)
    assert list(book.prompts) == ["say hi"]
    assert json.loads(book.resources["ui://main"].bare) == NOTES["resources"][0]
    assert list(book.templates) == ["note://{id}"]
    assert book.instructions == "Be kind."
    assert book.announced == Announced(completions=True, resources=True, subscribe=True, logging=True)


def test_what_cannot_be_used_is_left_out_with_its_reason() -> None:
    left_out = offering(**NOTES).left_out
    assert {(key.kind.value, key.name) for key in left_out} == {("prompt", "odd"), ("template", "{")}
    assert all(left_out.values())


def test_a_uri_is_offered_when_it_is_listed_or_made_by_a_template() -> None:
    book = offering(**NOTES)
    for uri in ("ui://main", "note://1"):
        assert book.offers(uri)
    for uri in ("ui://main/", "note://1/2", "note", "", "{"):
        assert not book.offers(uri)


def test_a_completion_needs_an_approved_thing_and_a_plugin_that_completes() -> None:
    book = offering(**NOTES)
    prompt: JsonValue = {"type": "ref/prompt", "name": "say hi"}
    template: JsonValue = {"type": "ref/resource", "uri": "note://{id}"}
    assert book.completes({"ref": prompt})
    assert book.completes({"ref": template})
    refs: list[JsonValue] = [
        {"type": "ref/prompt", "name": "odd"},
        {"type": "ref/resource", "uri": "{"},
        {"type": "ref/tool"},
        "x",
        None,
    ]
    for ref in refs:
        assert not book.completes({"ref": ref})
    assert not book.completes({})
    assert not offering(**{**NOTES, "capabilities": {}}).completes({"ref": prompt})


def test_a_plugin_that_says_nothing_of_itself_announces_nothing() -> None:
    book = offering()
    assert book.instructions is None
    assert book.announced == Announced()


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize("kind", ["prompts", "resources", "templates", "capabilities", "instructions"])
def test_any_change_beside_the_tools_is_refused_too(kind: str) -> None:
    changed: dict[str, Any] = {"prompts": [], "resources": [], "templates": [], "capabilities": {}}

    def seen(said: dict[str, Any]) -> Surface:
        return surface_of(listing_of(said))

    entry = locked(seen(NOTES))
    Definitions.build(entry, seen(NOTES), ())
    with pytest.raises(Refused) as refusal:
        Definitions.build(entry, seen({**NOTES, kind: changed.get(kind)}), ())
    assert refusal.value.code == "definition_changed"
