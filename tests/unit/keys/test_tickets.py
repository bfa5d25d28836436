from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused
from sekisho.keys import open_ticket, seal_ticket

KEY = b"k" * 32
PAYLOADS = st.dictionaries(st.text(max_size=10), st.none() | st.booleans() | st.text(max_size=20), max_size=5)


@given(payload=PAYLOADS, age=st.floats(0, 60))
def test_a_ticket_opens_to_what_was_sealed(payload: dict[str, object], age: float) -> None:
    text = seal_ticket(KEY, "session", payload, 1000.0)
    found = open_ticket(KEY, "session", text, 1000.0 + age, 60.0)
    assert (found.payload, found.issued_at) == (payload, 1000.0)


@given(position=st.integers(min_value=0), letter=st.sampled_from("ABCxyz019-_"))
def test_one_changed_letter_is_always_noticed(position: int, letter: str) -> None:
    text = seal_ticket(KEY, "session", {"who": "me"}, 1000.0)
    at = position % len(text)
    changed = text[:at] + letter + text[at + 1 :]
    if changed == text:
        return
    with pytest.raises(Refused):
        open_ticket(KEY, "session", changed, 1000.0, 60.0)


@pytest.mark.parametrize(
    ("key", "purpose", "now"),
    [
        (b"x" * 32, "session", 1000.0),
        (KEY, "cursor", 1000.0),
        (KEY, "session", 1061.0),
        (KEY, "session", 900.0),
    ],
)
def test_another_key_purpose_or_time_is_refused(key: bytes, purpose: str, now: float) -> None:
    text = seal_ticket(KEY, "session", {}, 1000.0)
    with pytest.raises(Refused) as caught:
        open_ticket(key, purpose, text, now, 60.0)
    assert caught.value.code == "session_unknown"


@pytest.mark.parametrize("text", ["", "é", "a", "====", "A" * 9000, "a b", "AAAA\n"])
def test_nonsense_is_no_ticket(text: str) -> None:
    with pytest.raises(Refused):
        open_ticket(KEY, "session", text, 1000.0, 60.0)


def test_padding_and_the_other_alphabet_are_refused() -> None:
    text = seal_ticket(KEY, "session", {"n": 1}, 1000.0)
    with pytest.raises(Refused):
        open_ticket(KEY, "session", text + "=", 1000.0, 60.0)
    with pytest.raises(Refused):
        open_ticket(KEY, "session", text + "+/", 1000.0, 60.0)


def test_the_same_payload_never_gives_the_same_ticket() -> None:
    assert seal_ticket(KEY, "p", {}, 1.0) != seal_ticket(KEY, "p", {}, 1.0)
