"""What leaves a tool: bounded, visible, and without the plugin's secrets."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin.faults import NotFound, RateLimited, ResultInvalid, TooLarge
from sekisho.plugin.results import ERROR, MAX_RESULT_BYTES, NEUTRALISED, REDACTED, Redaction, failure, finish
from sekisho.plugin.shapes import ListShape, RecordShape, Text, TextShape, WholeShape

SECRET = 'a1 B2/c3+"d4'
TEXT = TextShape(bounds=Text(multiline=True))
RECORD = RecordShape(fields={"n": WholeShape(), "t": TEXT, "l": ListShape(items=TEXT)}, descriptions={})


def _redaction() -> Redaction:
    made = Redaction()
    made.add(SECRET)
    return made


def test_a_record_is_given_as_data_and_as_its_text() -> None:
    result = finish({"n": 1, "t": "a\nb"}, RECORD, Redaction())
    assert result.structured == {"n": 1, "t": "a\nb"}
    assert json.loads(result.text) == result.structured
    assert result.wire() == {
        "content": [{"type": "text", "text": result.text}],
        "structuredContent": {"n": 1, "t": "a\nb"},
    }


def test_hidden_characters_are_made_visible_everywhere_and_counted() -> None:
    result = finish({"t": "a\u202eb", "l": ["\x1b[2J", "ok"]}, RECORD, Redaction())
    assert result.structured == {"t": "a⟨U+202E⟩b", "l": ["⟨U+001B⟩[2J", "ok"]}
    assert result.meta == {NEUTRALISED: 2}


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        json.dumps(SECRET),
    ],
)
def test_a_secret_does_not_leave_in_any_usual_spelling(spelled: str) -> None:
    redaction = _redaction()
    for text in (finish(f"x{spelled}y", None, redaction).text, failure(NotFound(spelled), redaction).text):
        assert REDACTED in text
        assert spelled.strip('"') not in text


def test_a_short_setting_does_not_tear_holes_into_ordinary_text() -> None:
    redaction = Redaction()
    redaction.add("on")
    assert finish("one person", None, redaction).text == "one person"


@given(st.text())
def test_nothing_is_taken_out_of_a_text_without_a_secret(text: str) -> None:
    assert Redaction().apply(text) == text


@pytest.mark.parametrize(
    "value", [{"n": "1"}, {"x": 1}, {"n": object()}, {"n": b"1"}, {1: 2}, "text", None, {"l": [["a"]]}]
)
def test_a_value_that_was_not_declared_is_the_authors_mistake(value: object) -> None:
    with pytest.raises(ResultInvalid):
        finish(value, RECORD, Redaction())


def test_a_result_that_never_ends_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ResultInvalid, match="deeply"):
        finish({"l": endless}, RECORD, Redaction())


def test_a_result_beyond_the_bound_is_refused_and_not_cut() -> None:
    assert len(finish("x" * MAX_RESULT_BYTES, None, Redaction()).text) == MAX_RESULT_BYTES
    for text in ("x" * (MAX_RESULT_BYTES + 1), "ü" * (MAX_RESULT_BYTES // 2 + 1)):
        with pytest.raises(TooLarge):
            finish(text, None, Redaction())


def test_a_fault_says_its_code_in_words_and_as_data() -> None:
    result = failure(RateLimited("later\x1b", retry_after_s=7.0), Redaction())
    assert result.is_error
    assert result.text == "[rate_limited] later⟨U+001B⟩"
    assert result.meta == {ERROR: {"code": "rate_limited", "retryAfterSeconds": 7.0}}
