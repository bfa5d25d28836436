"""The lists: approved definitions, filtered by client, forgotten when the house changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sekisho.errors import Refused
from sekisho.gateway import catalogue
from sekisho.gateway.catalogue import Catalogue
from sekisho.policy import AccessPolicy
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
