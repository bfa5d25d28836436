"""Which characters pass, and that both directions agree on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin.characters import forbidden, neutralised

ANY = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    "character", ["\0", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\ud800", "\U000e0041", "\u200b"]
)
def test_what_nobody_should_send_is_found_and_shown(character: str) -> None:
    assert forbidden(f"a{character}b", multiline=True) == f"U+{ord(character):04X}"
    assert neutralised(f"a{character}b") == (f"a⟨U+{ord(character):04X}⟩b", 1)


@pytest.mark.parametrize("text", ["日本語", "سلام\u200f", "👩‍🚀", "naïve — “quoted”", "a\tb\nc"])
def test_ordinary_writing_passes_untouched(text: str) -> None:
    assert forbidden(text, multiline=True) is None
    assert neutralised(text) == (text, 0)


def test_a_line_has_no_line_end() -> None:
    assert forbidden("a\nb", multiline=False) == "U+000A"


@given(ANY)
def test_what_was_made_visible_is_never_refused_afterwards(text: str) -> None:
    clean, count = neutralised(text)
    assert forbidden(clean, multiline=True) is None
    assert (count == 0) == (forbidden(text, multiline=True) is None)
    assert neutralised(clean) == (clean, 0)
