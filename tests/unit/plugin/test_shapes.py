"""Shapes check exactly what they publish."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin.faults import InvalidParameters
from sekisho.plugin.shapes import (
    ChoiceShape,
    FilePath,
    FlagShape,
    ListShape,
    NumberShape,
    OptionalShape,
    Range,
    RecordShape,
    Shape,
    Size,
    Text,
    TextShape,
    WebUrl,
    WholeShape,
)

RECORD = RecordShape(
    fields={
        "title": TextShape(bounds=Text(max_chars=5, min_chars=1)),
        "page": WholeShape(range=Range(1, 9)),
        "share": NumberShape(range=Range(0, 1)),
        "open": FlagShape(),
        "state": ChoiceShape(("draft", "publish")),
        "tags": ListShape(items=TextShape(), size=Size(1, 3)),
        "parent": OptionalShape(WholeShape()),
    },
    required=frozenset({"title"}),
    descriptions={"page": "Which page."},
)
SCHEMA = RECORD.schema()
# Without surrogates and control characters: JSON Schema cannot speak of them.
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=7)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-3, 3) | WORDS | st.sampled_from(["draft"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*RECORD.fields, "other"]), VALUES))
def test_a_value_is_taken_exactly_when_the_schema_takes_it(value: dict[str, Any]) -> None:
    try:
        RECORD.read(value, "it")
        is_taken = True
    except InvalidParameters:
        is_taken = False
    assert is_taken == jsonschema_rs.is_valid(SCHEMA, value)


def test_the_schema_is_one_of_2020_12() -> None:
    jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMA})
    assert json.dumps(SCHEMA)
    assert SCHEMA["additionalProperties"] is False


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (WholeShape(), True),
        (WholeShape(), 1 << 60),
        (WholeShape(), 1.5),
        (NumberShape(), float("nan")),
        (NumberShape(), float("inf")),
        (NumberShape(), 10**400),
        (TextShape(), 5),
        (TextShape(), "a\0b"),
        (TextShape(), "a\ud800"),
        (TextShape(), "a\nb"),
        (TextShape(), "x" * 10_001),
        (TextShape(bounds=Text(pattern="[a-z]+")), "a\n"),
        (FlagShape(), 1),
        (ChoiceShape(("a",)), ["a"]),
        (ListShape(items=WholeShape()), "ab"),
        (RECORD, {"title": "a", "titlе": "with a Cyrillic e"}),
        (RECORD, {}),
        (RECORD, []),
    ],
)
def test_what_does_not_fit_is_refused(shape: Shape, value: object) -> None:
    with pytest.raises(InvalidParameters):
        shape.read(value, "it")


def test_a_refusal_names_the_place_and_not_the_value() -> None:
    with pytest.raises(InvalidParameters) as refused:
        RECORD.read({"title": "a", "tags": ["ok", "hunter2\0"]}, "the parameters")
    assert "the parameters.tags[1]" in refused.value.message
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("path", ["notes/a.txt", "a", "a b/c-d_e.md", "日本/語", "..a/b..", "a/b:c"])
def test_a_relative_path_is_taken(path: str) -> None:
    assert TextShape(kind=FilePath()).read(path, "path") == path


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a", "a/../b", "a//b", "a/", ".", "", "a\\..\\b", "C:/a", "a\0", "a\n"]
)
def test_a_path_that_climbs_or_starts_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidParameters):
        TextShape(kind=FilePath()).read(path, "path")


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com:8443/a?b=c"])
def test_a_plain_url_is_taken(url: str) -> None:
    assert TextShape(kind=WebUrl(hosts=("example.com",))).read(url, "url") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://evil.example/",
        "https://example.com@evil.example/",
        "https://evil.example\\@example.com/",
        "https://example.com.evil.example/",
        "https://example.com/#x",
        "https://[::1",
        "https://example.com:99999/",
        "https://exam ple.com/",
        "https://ехample.com/",
        "//example.com/",
        "javascript:alert(1)",
        "https://",
    ],
)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameters):
        TextShape(kind=WebUrl(hosts=("example.com",))).read(url, "url")
