"""A URI reaches the one plugin it can mean, or nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.gateway.offering import everything, house_of, offering

from sekisho.errors import Refused
from sekisho.gateway.owners import Owners, prompt_target
from sekisho.policy import METHODS, Rule
from sekisho.protocol import PluginName

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

NOTES = offering("notes", resources=["note://1", "shared://x"], templates=["note://{id}", "file:///{name}"])
FILES = offering(
    "files", resources=["file:///a", "shared://x"], templates=["file:///{name}", "deep:///{+path}"]
)


def refused(owners: Owners, uri: str, client: str | None = None) -> str:
    with pytest.raises(Refused) as refusal:
        owners.of_resource(uri, client)
    return refusal.value.code


def test_a_listed_uri_goes_to_who_lists_it_and_any_other_to_whose_template_makes_it(kit: Kit) -> None:
    owners = Owners.of(house_of(kit.house, NOTES, FILES))
    assert owners.of_resource("note://1") == "notes"
    assert owners.of_resource("note://2") == "notes"
    assert owners.of_resource("deep:///a/b") == "files"


def test_a_listed_uri_counts_more_than_a_template(kit: Kit) -> None:
    assert Owners.of(house_of(kit.house, NOTES, FILES)).of_resource("file:///a") == "files"


@pytest.mark.threat("T-SHADOW")
def test_what_two_plugins_claim_goes_to_neither(kit: Kit) -> None:
    owners = Owners.of(house_of(kit.house, NOTES, FILES))
    assert refused(owners, "shared://x") == "resource_ambiguous"
    assert refused(owners, "file:///b") == "resource_ambiguous"


def test_what_nobody_claims_is_unknown(kit: Kit) -> None:
    owners = Owners.of(house_of(kit.house, NOTES, FILES))
    for uri in ("other://x", "note://1/2", "NOTE://1", "", "x" * 9000):
        assert refused(owners, uri) == "resource_unknown"


def test_a_refusal_names_the_uri_that_was_asked_for(kit: Kit) -> None:
    with pytest.raises(Refused) as caught:
        Owners.of(house_of(kit.house, NOTES)).of_resource("other://x")
    assert caught.value.facts == {"uri": "other://x"}


def test_a_plugin_that_the_client_may_not_use_for_it_does_not_count(kit: Kit) -> None:
    narrow = Rule(
        client="ben",
        plugin=PluginName("notes"),
        operations=frozenset(),
        methods=METHODS,
        resources=frozenset({"note://*"}),
    )
    rules = [everything("aya", "notes"), everything("aya", "files"), narrow, everything("ben", "files")]
    owners = Owners.of(house_of(kit.house, NOTES, FILES, rules=rules))
    assert refused(owners, "shared://x", "aya") == "resource_ambiguous"
    assert owners.of_resource("shared://x", "ben") == "files"
    assert owners.of_resource("file:///b", "ben") == "files"
    assert refused(owners, "shared://x", "carol") == "resource_unknown"


@pytest.mark.threat("T-RUGPULL")
def test_a_plugin_that_does_not_stand_claims_nothing(kit: Kit) -> None:
    house = house_of(kit.house, NOTES, FILES)
    fallen = replace(house.standings[PluginName("notes")], definitions=None)
    owners = Owners.of(replace(house, standings={**house.standings, PluginName("notes"): fallen}))
    assert owners.of_resource("shared://x") == "files"
    assert refused(owners, "note://1") == "resource_unknown"


def test_a_completion_names_a_template_as_it_is_listed(kit: Kit) -> None:
    owners = Owners.of(house_of(kit.house, NOTES, FILES))
    assert owners.of_template("note://{id}") == "notes"
    assert owners.of_template("note://1") == "notes"
    for text, code in (("file:///{name}", "resource_ambiguous"), ("note://{other}", "resource_unknown")):
        with pytest.raises(Refused) as refusal:
            owners.of_template(text)
        assert refusal.value.code == code


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("notes__greet", ("notes", "greet")),
        ("a-b__say hello!", ("a-b", "say hello!")),
        ("n____x", ("n", "__x")),
    ],
)
def test_a_prompt_of_all_plugins_names_its_own(name: str, target: tuple[str, str]) -> None:
    assert prompt_target(name) == target


@pytest.mark.parametrize("name", ["", "greet", "notes__", "__greet", "No__x", "notes_greet"])
def test_any_other_prompt_name_is_unknown(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        prompt_target(name)
    assert refusal.value.code == "prompt_unknown"
