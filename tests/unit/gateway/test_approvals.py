"""A person is told what they allow, and only a ticked box is a yes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.detect import hidden_characters
from sekisho.gateway.approvals import MAX_SHOWN_CHARS, approval_form, is_yes
from sekisho.gateway.forms import read_form
from sekisho.gateway.stages import Call
from sekisho.protocol import PluginName


def message(tool: str, arguments: dict[str, Any]) -> str:
    form = approval_form(Call.of("c1", PluginName("calc"), tool, arguments))
    assert read_form(form["requestedSchema"]) == form["requestedSchema"]
    return str(form["message"])


def test_the_question_names_plugin_tool_and_arguments() -> None:
    assert message("erase", {"path": "/tmp/a"}) == (
        'May the plugin calc run erase? It would be given: {"path":"/tmp/a"}'
    )


@pytest.mark.threat("T-HIDDEN")
@given(st.text(), st.text(min_size=1))
def test_a_person_sees_every_character_of_what_is_done(value: str, tool: str) -> None:
    try:
        told = message(tool, {"path": value})
    except UnicodeEncodeError:  # half a character, which no message that was read can have
        return
    assert hidden_characters(told) == ()
    assert "\n" not in told


def test_text_that_turns_its_direction_is_shown_by_its_code_and_plain_text_as_it_is() -> None:
    assert "⟨U+202E⟩gpj.exe" in message("erase", {"path": "\u202egpj.exe"})
    assert "⟨U+2028⟩" in message("erase", {"path": "a\u2028b"})
    assert "日本 é" in message("erase", {"path": "日本 é"})


@pytest.mark.parametrize("more", [0, 1, 500])
def test_long_arguments_are_shown_in_part_and_the_question_says_so(more: int) -> None:
    frame = len(json.dumps({"a": ""}, separators=(",", ":")))
    told = message("erase", {"a": "x" * (MAX_SHOWN_CHARS - frame + more)})
    assert (f"… and {more} more characters" in told) == (more > 0)
    assert len(told) < MAX_SHOWN_CHARS + 200


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"action": "accept"},
        {"action": "decline", "content": {"allow": True}},
        {"action": "cancel"},
        {"action": "accept", "content": {}},
        {"action": "accept", "content": {"allow": False}},
        {"action": "accept", "content": {"allow": "true"}},
        {"action": "accept", "content": {"allow": 1}},
        {"action": "accept", "content": {"Allow": True}},
        {"action": "accept", "content": [True]},
        {"content": {"allow": True}},
    ],
)
def test_nothing_but_a_ticked_box_is_a_yes(answer: dict[str, Any]) -> None:
    assert not is_yes(answer)
    assert is_yes({"action": "accept", "content": {"allow": True}})
