"""A cursor opens the page it was given for, for the client it was given to, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.gateway import cursors
from sekisho.gateway.cursors import Cursors, Place
from sekisho.keys import seal_ticket
from sekisho.protocol import PluginName

KEY = bytes(range(32))
CALC = PluginName("calc")
PLACE = Place(client="aya", endpoint=CALC, method="tools/list", snapshot="s1", page=3)


def opened(text: str, place: Place = PLACE, key: bytes = KEY) -> int:
    return Cursors(key).page(text, place.client, place.endpoint, place.method, place.snapshot)


def test_any_process_of_the_house_opens_a_cursor() -> None:
    assert opened(Cursors(KEY).seal(PLACE)) == 3


def test_a_cursor_of_the_same_place_is_the_same_text() -> None:
    held = Cursors(KEY)
    assert held.seal(PLACE) == held.seal(replace(PLACE))
    assert held.seal(PLACE) != held.seal(replace(PLACE, page=4))


@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize(
    "other",
    [{"client": "ben"}, {"endpoint": None}, {"endpoint": PluginName("other")}, {"method": "prompts/list"},
     {"snapshot": "s2"}],
)  # fmt: skip
def test_a_cursor_fits_no_other_list(other: dict[str, Any]) -> None:
    text = Cursors(KEY).seal(PLACE)
    with pytest.raises(RemoteProtocolError) as refusal:
        opened(text, replace(PLACE, **other))
    assert refusal.value.code == "params_invalid"
    assert "again from its start" in refusal.value.remedy


def test_a_cursor_of_another_house_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        opened(Cursors(bytes(32)).seal(PLACE))


def test_a_ticket_of_another_purpose_is_no_cursor() -> None:
    payload = {"c": "aya", "e": "calc", "m": "tools/list", "s": "s1", "p": 3}
    assert opened(seal_ticket(KEY, "cursor", payload, 0.0)) == 3
    for text in (
        seal_ticket(KEY, "session", payload, 0.0),
        seal_ticket(KEY, "cursor", payload | {"p": "3"}, 0.0),
    ):
        with pytest.raises(RemoteProtocolError):
            opened(text)


@given(text=st.text(max_size=60))
def test_what_we_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(text)


@given(at=st.integers(0, 200), flip=st.integers(1, 255))
def test_one_changed_character_is_noticed(at: int, flip: int) -> None:
    text = Cursors(KEY).seal(PLACE)
    at %= len(text)
    changed = text[:at] + chr(ord(text[at]) ^ flip) + text[at + 1 :]
    with pytest.raises(RemoteProtocolError):
        opened(changed)


@pytest.mark.threat("T-FLOOD")
def test_few_cursors_are_remembered_and_forgotten_ones_still_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "MAX_KNOWN", 2)
    held = Cursors(KEY)
    first = held.seal(PLACE)
    for page in range(10, 20):
        held.seal(replace(PLACE, page=page))
    assert held.seal(PLACE) != first
    assert opened(first) == 3
