"""What a person reads of a change: everything, nothing hidden, and never too much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.detect.hidden import hidden_characters
from sekisho.sandbox.drafts.difference import MAX_SHOWN, MAX_TEXT_BYTES, text_difference, text_of


def test_a_changed_line_is_shown_with_both_states() -> None:
    lines = text_difference(b"one\ntwo\n", b"one\nthree\n")
    assert lines is not None
    assert lines[-2:] == ("-two", "+three")


def test_what_cannot_be_seen_is_shown_by_code_point() -> None:
    lines = text_difference(b"", "run \u202egnp.exe\x1b[2J\r\u2028ok\n".encode())
    assert lines is not None
    assert lines[-1] == "+run ⟨U+202E⟩gnp.exe⟨U+001B⟩[2J⟨U+000D⟩⟨U+2028⟩ok"


def test_a_missing_line_end_is_a_difference() -> None:
    lines = text_difference(b"one\n", b"one")
    assert lines is not None
    assert lines[-1].endswith("no line end")


def test_what_is_no_text_or_too_long_is_not_shown_as_text() -> None:
    assert text_of(b"\x89PNG\0") is None
    assert text_of(b"\xff\xfe") is None
    assert text_of(b"x" * (MAX_TEXT_BYTES + 1)) is None
    assert text_difference(b"text", b"\0") is None
    assert text_of("日本".encode()) == "日本"


def test_a_long_difference_is_cut_and_says_so() -> None:
    lines = text_difference(b"", b"".join(b"%d\n" % number for number in range(MAX_SHOWN * 2)))
    assert lines is not None
    assert len(lines) == MAX_SHOWN + 1
    assert "more" in lines[-1]


@given(st.binary(max_size=200), st.text(max_size=200))
def test_whatever_the_content_every_line_can_be_written_to_a_terminal(old: bytes, new: str) -> None:
    for line in text_difference(old, new.encode("utf-8", "ignore")) or ():
        assert not hidden_characters(line)
        assert "\n" not in line
