"""The lists: approved definitions, filtered by client, forgotten when the house changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.gateway.offering import everything, house_of, offering

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.gateway import House, answers, catalogue
from sekisho.gateway.catalogue import Catalogue
from sekisho.gateway.cursors import Cursors, Place
from sekisho.policy import METHODS, AccessPolicy, Rule
from sekisho.protocol import PluginName

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


def names(kit: Kit, client: str, plugin: PluginName | None, held: Catalogue | None = None) -> list[str]:
    listed = json.loads((held or Catalogue()).listing(kit.house, client, plugin, modern=False))
    return [tool["name"] for tool in listed["tools"]]


@pytest.mark.requirement("A2.2")
@pytest.mark.threat("T-OPERATION")
def test_a_client_sees_what_it_may_call_and_nothing_else(kit: Kit) -> None:
    assert names(kit, "aya", kit.calc) == ["add", "erase"]
    assert names(kit, "ben", kit.calc) == ["add"]
    assert names(kit, "carol", kit.calc) == []


def test_everybodys_tools_carry_their_plugins_name(kit: Kit) -> None:
    assert names(kit, "aya", None) == ["calc__add", "calc__erase", "other__erase"]
    assert names(kit, "ben", None) == ["calc__add"]


def test_an_unknown_plugin_lists_nothing(kit: Kit) -> None:
    assert names(kit, "aya", PluginName("nobody")) == []


@pytest.mark.threat("T-RUGPULL")
def test_a_plugin_that_does_not_stand_is_not_listed(kit: Kit) -> None:
    changed = kit.standing(problem=Refused("definition_changed", "test"))
    kit.change(standings={**kit.house.standings, kit.calc: changed})
    assert names(kit, "aya", kit.calc) == []
    assert names(kit, "aya", None) == ["other__erase"]


def test_a_list_is_remembered_until_the_house_changes(kit: Kit) -> None:
    held = Catalogue()
    first = held.listing(kit.house, "aya", kit.calc, modern=True)
    assert held.listing(kit.house, "aya", kit.calc, modern=True) is first
    kit.change(access=AccessPolicy(()))
    assert names(kit, "aya", kit.calc, held) == []


@pytest.mark.threat("T-FLOOD")
def test_a_flood_of_endpoints_is_forgotten_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_MEMOS", 4)
    held = Catalogue()
    first = held.listing(kit.house, "aya", kit.calc, modern=True)
    for number in range(4):
        held.listing(kit.house, "aya", PluginName(f"p{number}"), modern=True)
    again = held.listing(kit.house, "aya", kit.calc, modern=True)
    assert again == first
    assert again is not first


UI_TOOL: dict[str, Any] = {
    "name": "show",
    "title": "Show",
    "icons": [{"src": "https://a.example/i.png"}],
    "inputSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "address", "type": "object"}},
        "properties": {"to": {"$ref": "#address"}},
    },
    "execution": {"taskSupport": "optional"},
    "_meta": {"ui": {"resourceUri": "ui://show/main.html"}},
    "unknown": [1, {"deep": None}],
}
LISTED: tuple[tuple[str, str], ...] = (
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
)


def listed(held: Catalogue, house: House, client: str, plugin: str | None, method: str) -> Any:
    endpoint = None if plugin is None else PluginName(plugin)
    return json.loads(held.listing(house, client, endpoint, method, modern=True))


def resources(held: Catalogue, house: House, cursor: str | None = None) -> Any:
    """A page of the resources of all plugins."""
    return json.loads(held.listing(house, "aya", None, "resources/list", cursor, modern=True))


def test_every_list_says_what_the_newer_era_wants(kit: Kit) -> None:
    house = house_of(kit.house, offering("a"))
    for method, member in LISTED:
        said = listed(Catalogue(), house, "aya", None, method)
        assert said[member] == []
        assert (said["resultType"], said["ttlMs"], said["cacheScope"]) == ("complete", 0, "private")
        assert "io.modelcontextprotocol/serverInfo" in said["_meta"]
        legacy = json.loads(Catalogue().listing(house, "aya", None, method, modern=False))
        assert legacy == {member: []}


def test_what_a_plugin_wrote_is_listed_unchanged_but_for_prefixed_names(kit: Kit) -> None:
    house = house_of(
        kit.house,
        offering(
            "a", tools=[UI_TOOL], prompts=["say hi"], resources=["ui://show/main.html"], templates=["n://{i}"]
        ),
    )
    held = Catalogue()
    assert listed(held, house, "aya", "a", "tools/list")["tools"] == [UI_TOOL]
    assert listed(held, house, "aya", None, "tools/list")["tools"] == [{**UI_TOOL, "name": "a__show"}]
    prompt = {"name": "say hi", "title": "T say hi"}
    assert listed(held, house, "aya", "a", "prompts/list")["prompts"] == [prompt]
    assert listed(held, house, "aya", None, "prompts/list")["prompts"] == [{**prompt, "name": "a__say hi"}]
    for endpoint in ("a", None):
        one = listed(held, house, "aya", endpoint, "resources/list")["resources"]
        assert one == [{"uri": "ui://show/main.html", "name": "ui://show/main.html"}]
        one = listed(held, house, "aya", endpoint, "resources/templates/list")["resourceTemplates"]
        assert one == [{"uriTemplate": "n://{i}", "name": "n://{i}"}]


@pytest.mark.threat("T-OPERATION")
def test_a_client_is_shown_the_prompts_and_resources_it_may_use(kit: Kit) -> None:
    offered = offering(
        "a", prompts=["p", "q"], resources=["n://1", "m://1"], templates=["n://{i}", "m://{i}"]
    )
    narrow = Rule(
        client="ben",
        plugin=offered.plugin,
        operations=frozenset(),
        methods=METHODS,
        prompts=frozenset({"q"}),
        resources=frozenset({"n://*"}),
    )
    house, held = house_of(kit.house, offered, rules=[narrow]), Catalogue()
    assert [one["name"] for one in listed(held, house, "ben", "a", "prompts/list")["prompts"]] == ["q"]
    assert [one["uri"] for one in listed(held, house, "ben", "a", "resources/list")["resources"]] == ["n://1"]
    templates = listed(held, house, "ben", "a", "resources/templates/list")["resourceTemplates"]
    assert [one["uriTemplate"] for one in templates] == ["n://{i}"]
    for method, member in LISTED:
        assert listed(held, house, "carol", "a", method)[member] == []


@pytest.mark.threat("T-SHADOW")
def test_what_could_not_be_read_at_an_endpoint_is_not_listed_there(kit: Kit) -> None:
    one = offering("a", resources=["n://1", "x://1"], templates=["n://{i}"])
    other = offering("b", resources=["n://1"], templates=["n://{i}"])
    rules = [everything("aya", "a"), everything("aya", "b"), everything("ben", "b")]
    house, held = house_of(kit.house, one, other, rules=rules), Catalogue()

    def uris(client: str, endpoint: str | None) -> list[str]:
        return [each["uri"] for each in listed(held, house, client, endpoint, "resources/list")["resources"]]

    assert uris("aya", None) == ["x://1"]
    assert listed(held, house, "aya", None, "resources/templates/list")["resourceTemplates"] == []
    assert uris("aya", "a") == ["n://1", "x://1"]
    assert uris("ben", None) == ["n://1"]


def walked(held: Catalogue, house: House) -> list[list[str]]:
    pages, cursor = [], None
    for _ in range(100):
        page = resources(held, house, cursor)
        pages.append([one["uri"] for one in page["resources"]])
        cursor = page.get("nextCursor")
        if cursor is None:
            return pages
    raise AssertionError("the list does not end")


@settings(deadline=None)
@given(count=st.integers(0, 25), items=st.integers(1, 9), size=st.integers(1, 300))
def test_pages_together_are_the_whole_list(
    new_kit: Callable[[], Kit], count: int, items: int, size: int
) -> None:
    uris = [f"n://{number}" for number in range(count)]
    house = house_of(new_kit().house, offering("a", resources=uris))
    pages = walked(Catalogue(page_items=items, page_bytes=size), house)
    assert [uri for page in pages for uri in page] == uris
    assert all(len(page) <= items for page in pages)
    assert all(pages) or pages == [[]]


def test_a_cursor_holds_in_every_process_of_the_house_until_the_list_changes(kit: Kit) -> None:
    key = bytes(32)
    house = house_of(kit.house, offering("a", resources=["n://1", "n://2"]))
    first, second = (Catalogue(Cursors(key), page_items=1) for _ in range(2))
    cursor = listed(first, house, "aya", None, "resources/list")["nextCursor"]
    assert resources(second, house, cursor)["resources"][0]["uri"] == "n://2"
    reloaded = replace(house)
    assert resources(second, reloaded, cursor)["resources"][0]["uri"] == "n://2"
    changed = house_of(kit.house, offering("a", resources=["n://1", "n://3"]))
    for held, there in ((first, changed), (Catalogue(page_items=1), house)):
        with pytest.raises(RemoteProtocolError) as refusal:
            resources(held, there, cursor)
        assert refusal.value.code == "params_invalid"


def test_an_unchanged_list_keeps_its_bytes_when_the_house_is_built_anew(kit: Kit) -> None:
    house, held = house_of(kit.house, offering("a", resources=["n://1", "n://2"])), Catalogue(page_items=1)
    before = held.listing(house, "aya", None, "resources/list", modern=True)
    assert held.listing(replace(house), "aya", None, "resources/list", modern=True) == before


def test_a_cursor_for_a_list_of_one_page_is_refused(kit: Kit) -> None:
    house, key = house_of(kit.house, offering("a", resources=["n://1"])), bytes(32)
    for page in (0, 1, -1):
        place = Place(client="aya", endpoint=None, method="resources/list", snapshot="", page=page)
        with pytest.raises(RemoteProtocolError):
            resources(Catalogue(Cursors(key)), house, Cursors(key).seal(place))


def test_clients_that_see_the_same_share_its_bytes(kit: Kit) -> None:
    rules = [everything("*", "a", "show")]
    house, held = house_of(kit.house, offering("a", tools=[UI_TOOL]), rules=rules), Catalogue()
    first = held.listing(house, "aya", None, modern=True)
    assert held.listing(house, "ben", None, modern=True) is first


def test_a_legacy_client_is_not_shown_an_output_schema_that_its_revision_lacks(kit: Kit) -> None:
    tool = {"name": "sum", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}}
    house, held = house_of(kit.house, offering("a", tools=[tool])), Catalogue()
    assert listed(held, house, "aya", "a", "tools/list")["tools"] == [tool]
    legacy = json.loads(held.listing(house, "aya", PluginName("a"), modern=False))["tools"]
    assert legacy == [{"name": "sum", "inputSchema": {"type": "object"}}]


def test_greetings_are_kept_until_the_house_changes(kit: Kit) -> None:
    house, held = house_of(kit.house, offering("a", instructions="Be kind.")), Catalogue()
    first = held.initialized("2025-06-18", house, "aya", PluginName("a"))
    assert first == answers.initialize_result("2025-06-18", house, "aya", PluginName("a"))
    assert held.initialized("2025-06-18", house, "aya", PluginName("a")) is first
    assert held.initialized("2025-11-25", house, "aya", PluginName("a")) != first
    assert held.discovered(house, "aya", None) == answers.discover_result(house, "aya", None)
    fewer = house_of(kit.house, offering("a", capabilities={}))
    assert held.initialized("2025-06-18", fewer, "aya", PluginName("a")) != first


def test_the_owner_of_a_uri_follows_the_house(kit: Kit) -> None:
    held = Catalogue()
    assert held.owner(house_of(kit.house, offering("a", resources=["n://1"])), "n://1") == "a"
    other = house_of(kit.house, offering("b", templates=["n://{i}"]))
    assert held.owner(other, "n://1", client="aya") == "b"
    assert held.owner(other, "n://{i}", is_template=True) == "b"
    with pytest.raises(Refused):
        held.owner(other, "n://1", client="carol")


@pytest.mark.threat("T-FLOOD")
def test_long_lists_of_many_clients_are_forgotten_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_HELD_BYTES", 2000)
    uris = [f"n://{number}" for number in range(20)]
    house = house_of(kit.house, offering("a", resources=uris), rules=[everything("*", "a")])
    held = Catalogue(page_items=5)
    first = held.listing(house, "aya", None, "resources/list", modern=True)
    assert held.listing(house, "aya", None, "resources/list", modern=True) is first
    for number in range(3):
        held.listing(house, f"client{number}", None, "resources/list", modern=True)
    again = held.listing(house, "aya", None, "resources/list", modern=True)
    assert again == first
    assert again is not first
