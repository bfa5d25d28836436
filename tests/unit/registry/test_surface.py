"""Every byte of every definition is pinned."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.registry import ItemId, ItemKind, Listing, Surface, root_of, surface_of
from sekisho.registry.surface import MAX_ITEM_BYTES, MAX_ITEMS, listing_from_json, listing_to_json

# a busy machine is not a failure: no assertion about the wall clock
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TOOL: dict[str, Any] = {
    "name": "send",
    "title": "Send",
    "description": "Sends a message.",
    "inputSchema": {"type": "object", "properties": {"to": {"type": "string", "maxLength": 80}}},
    "annotations": {"readOnlyHint": False},
    "_meta": {"com.example/team": "mail", "deep": [{"weight": 1.5}, None, True]},
    "x-unknown": {"kept": "as it is"},
}


def surface_with(*tools: object, **others: Any) -> Surface:
    return surface_of(Listing(tools=tuple(json.dumps(tool).encode() for tool in tools), **others))


def tool_digest(tool: object) -> str:
    return surface_with(tool).items[ItemId(ItemKind.TOOL, "send")].digest


def changed_leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every scalar inside a value."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if members is None:
        yield path
        return
    for key, member in members:
        yield from changed_leaves(member, (*path, key))


LEAVES = [path for path in changed_leaves(TOOL) if path != ("name",)]
texts = st.text(st.characters(codec="utf-8"), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.requirement("B4.1")
@pytest.mark.threat("T-RUGPULL")
@PATIENT
@given(path=st.sampled_from(LEAVES), value=json_values)
def test_a_changed_value_anywhere_in_a_definition_changes_digest_and_root(
    path: tuple[Any, ...], value: Any
) -> None:
    altered = copy.deepcopy(TOOL)
    place = altered
    for step in path[:-1]:
        place = place[step]
    before = place[path[-1]]
    place[path[-1]] = value
    is_same = type(before) is type(value) and before == value
    assert (tool_digest(altered) == tool_digest(TOOL)) is is_same
    assert (surface_with(altered).root == surface_with(TOOL).root) is is_same


@PATIENT
@given(position=st.integers(0, len(json.dumps(TOOL)) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_is_refused_or_noticed_unless_the_value_stays_equal(
    position: int, byte: int
) -> None:
    text = bytearray(json.dumps(TOOL), "ascii")
    text[position] = byte
    try:
        surface = surface_of(Listing(tools=(bytes(text),)))
    except RemoteProtocolError:
        return
    is_equal = json.loads(text) == TOOL
    assert (surface.root == surface_with(TOOL).root) is is_equal


@PATIENT
@given(name=texts.filter(lambda name: name not in TOOL), value=json_values)
def test_an_added_unknown_field_changes_the_digest(name: str, value: Any) -> None:
    assert tool_digest({**TOOL, name: value}) != tool_digest(TOOL)


@PATIENT
@given(order=st.permutations(sorted(TOOL)))
def test_the_order_of_fields_is_not_a_change_and_is_kept_in_what_is_served(order: list[str]) -> None:
    surface = surface_with({key: TOOL[key] for key in order})
    assert surface.root == surface_with(TOOL).root
    served = surface.items[ItemId(ItemKind.TOOL, "send")].text
    assert list(json.loads(served)) == order


def test_the_digest_names_two_hash_families() -> None:
    sha256, sha512 = tool_digest(TOOL).split(" ")
    assert (len(sha256), len(sha512)) == (len("sha256:") + 64, len("sha512:") + 128)


def test_server_facts_capabilities_and_instructions_are_pinned_too() -> None:
    plain = surface_with(TOOL)
    assert surface_with(TOOL, server_info=b'{"name":"other"}').root != plain.root
    assert surface_with(TOOL, capabilities=b'{"tools":{}}').root != plain.root
    assert surface_with(TOOL, instructions="").root != plain.root
    assert surface_with(TOOL, instructions="a").root != surface_with(TOOL, instructions="b").root


def test_the_same_object_as_prompt_and_as_tool_has_different_digests() -> None:
    text = json.dumps({"name": "same"}).encode()
    surface = surface_of(Listing(tools=(text,), prompts=(text,)))
    assert len({item.digest for item in surface.items.values()}) == len(surface.items)


def test_items_are_found_by_kind_in_the_order_of_the_plugin() -> None:
    surface = surface_of(
        Listing(
            tools=(b'{"name":"b"}', b'{"name":"a"}'),
            resources=(b'{"uri":"file:///x","name":"x"}',),
            templates=(b'{"uriTemplate":"file:///{name}","name":"x"}',),
        )
    )
    assert [item.id.name for item in surface.of_kind(ItemKind.TOOL)] == ["b", "a"]
    assert [item.id.name for item in surface.of_kind(ItemKind.RESOURCE)] == ["file:///x"]
    assert [item.id.name for item in surface.of_kind(ItemKind.TEMPLATE)] == ["file:///{name}"]
    assert list(surface.items) == sorted(surface.items)


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "tool",
    [
        b'{"name":"a","description":"shown","description":"pinned"}',
        b'{"name":"a","inputSchema":{"type":"object","type":"array"}}',
        b'{"name":"a","n":NaN}',
        b'{"name":"a","n":9007199254740993}',
        b'{"name":"a","n":1e999}',
        b'{"name":"a","t":"\\ud800"}',
        b'{"name":"a","t":"\xff"}',
        b"\xef\xbb\xbf" + b'{"name":"a"}',
        b'{"name":"a"} {}',
        b'{"name":"with space"}',
        b'{"name":""}',
        b'{"name":7}',
        b'{"title":"nameless"}',
        b'["name"]',
        b"{",
        b"",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(tool: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        surface_of(Listing(tools=(tool,)))


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="twice"):
        surface_with({"name": "a"}, {"name": "a", "description": "another"})


def test_an_endless_listing_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="more than"):
        surface_with(*({"name": f"t{number}"} for number in range(MAX_ITEMS)))


def test_one_definition_has_a_largest_size() -> None:
    with pytest.raises(RemoteProtocolError, match="too large"):
        surface_with({"name": "a", "description": "x" * MAX_ITEM_BYTES})


@PATIENT
@given(st.dictionaries(st.builds(ItemId, st.sampled_from(ItemKind), texts), texts, min_size=1, max_size=4))
def test_the_root_does_not_depend_on_order_and_notices_a_missing_item(digests: dict[ItemId, str]) -> None:
    backwards = dict(reversed(digests.items()))
    assert root_of(backwards) == root_of(digests)
    backwards.popitem()
    assert root_of(backwards) != root_of(digests)


def test_a_listing_survives_keeping() -> None:
    listing = Listing(
        server_info=b'{"name":"x"}',
        capabilities=b'{"tools":{}}',
        instructions="do",
        tools=(json.dumps(TOOL).encode(),),
        prompts=(b'{"name":"p"}',),
        resources=(b'{"uri":"a:b"}',),
        templates=(b'{"uriTemplate":"a:{b}"}',),
    )
    kept = json.loads(json.dumps(listing_to_json(listing)))
    assert surface_of(listing_from_json(kept)) == surface_of(listing)


@pytest.mark.parametrize("value", [None, [], {}, {"tools": []}])
def test_what_is_not_a_kept_listing_is_refused(value: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="not a stored listing"):
        listing_from_json(value)


@pytest.mark.threat("T-RUGPULL")
def test_the_tree_of_a_package_is_pinned_and_kept_and_its_absence_changes_nothing() -> None:
    trees = [f"sha256:{letter * 64}" for letter in "ab"]
    roots = {surface_with(TOOL, tree=tree).root for tree in ("", *trees)}
    assert len(roots) == 3
    assert surface_with(TOOL, tree="").root == surface_with(TOOL).root
    for tree in ("", *trees):
        listing = Listing(tools=(json.dumps(TOOL).encode(),), tree=tree)
        kept = listing_to_json(listing)
        assert ("tree" in kept) is bool(tree)
        assert listing_from_json(kept).tree == tree
    with pytest.raises(RemoteProtocolError):
        listing_from_json({**listing_to_json(Listing()), "tree": 1})
