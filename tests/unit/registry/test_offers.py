"""Prompts, resources and templates are served as they were pinned, and only if they can be judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.names import PluginName
from sekisho.registry import Listing, surface_of
from sekisho.registry.offers import MAX_TEMPLATE_TEXT, MAX_TEMPLATES, compile_prompt, compile_templates
from sekisho.registry.surface import Item, ItemKind

NOTES = PluginName("notes")
PROMPT: dict[str, Any] = {
    "title": "Greets",
    "name": "greet someone",
    "arguments": [{"name": "who", "required": True, "title": "Who"}, {"name": "how"}],
    "icons": [{"src": "https://a.example/i.png"}],
    "_meta": {"x": 1},
    "unknown": None,
}


def prompt_item(prompt: dict[str, Any]) -> Item:
    listing = Listing(prompts=(json.dumps(prompt).encode(),))
    return surface_of(listing).of_kind(ItemKind.PROMPT)[0]


def templates(*texts: str) -> tuple[Item, ...]:
    listed = tuple(json.dumps({"uriTemplate": text, "name": "t"}).encode() for text in texts)
    return surface_of(Listing(templates=listed)).of_kind(ItemKind.TEMPLATE)


def test_a_prompt_keeps_every_field_and_the_prefixed_one_differs_in_its_name() -> None:
    offer = compile_prompt(NOTES, prompt_item(PROMPT))
    assert json.loads(offer.piece(prefixed=False)) == PROMPT
    assert list(json.loads(offer.piece(prefixed=False))) == list(PROMPT)
    assert json.loads(offer.piece(prefixed=True)) == {**PROMPT, "name": "notes__greet someone"}
    assert [(one.name, one.required) for one in offer.arguments] == [("who", True), ("how", False)]


def test_a_prompt_takes_texts_and_needs_what_is_required() -> None:
    offer = compile_prompt(NOTES, prompt_item(PROMPT))
    offer.check_arguments({"who": "Aya"})
    offer.check_arguments({"who": "Aya", "how": "kindly", "extra": ""})
    compile_prompt(NOTES, prompt_item({"name": "plain"})).check_arguments({})
    refused: tuple[dict[str, Any], ...] = ({}, {"how": "kindly"}, {"who": 1}, {"who": "Aya", "how": None})
    for arguments in refused:
        with pytest.raises(Refused) as refusal:
            offer.check_arguments(arguments)
        assert refusal.value.code == "arguments_invalid"


@pytest.mark.parametrize("arguments", ["who", {"name": "who"}, ["who"], [{}], [{"name": 1}], [{"name": ""}]])
def test_a_prompt_whose_arguments_cannot_be_told_is_refused(arguments: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        compile_prompt(NOTES, prompt_item({"name": "greet", "arguments": arguments}))


@pytest.mark.parametrize("required", ["true", 1, None])
def test_only_true_makes_an_argument_required(required: Any) -> None:
    value = {"name": "greet", "arguments": [{"name": "who", "required": required}]}
    compile_prompt(NOTES, prompt_item(value)).check_arguments({})


def test_a_template_nobody_can_read_is_left_out_with_its_reason() -> None:
    offers, unusable = compile_templates(templates("note://{id}", "note://{id"))
    assert list(offers) == ["note://{id}"]
    assert [(key.name, "not closed" in why) for key, why in unusable.items()] == [("note://{id", True)]


@pytest.mark.threat("T-FLOOD")
def test_templates_beyond_the_bound_are_left_out() -> None:
    texts = [f"note://{number:04}/" + "x" * 1000 + "{id}" for number in range(100)]
    offers, unusable = compile_templates(templates(*texts))
    assert sum(map(len, offers)) <= MAX_TEMPLATE_TEXT
    assert len(offers) + len(unusable) == 100
    assert list(offers) == texts[: len(offers)]
    assert len(offers) > 30


@pytest.mark.threat("T-FLOOD")
def test_many_short_templates_are_left_out_too() -> None:
    offers, unusable = compile_templates(
        templates(*(f"n:{number}/{{i}}" for number in range(MAX_TEMPLATES + 2)))
    )
    assert (len(offers), len(unusable)) == (MAX_TEMPLATES, 2)
