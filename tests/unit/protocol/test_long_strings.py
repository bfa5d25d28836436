"""A large text with long strings is read as a parser reads it, or not at all, and never raises."""

from __future__ import annotations

import json

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import JsonLimits, JsonValue
from sekisho.protocol.json_text import check_text, decode_distinct
from sekisho.protocol.long_strings import LONG_BYTES, MAX_REST_BYTES, read_around

LONG = "a, b: {c} [d] ü " * (LONG_BYTES // 8)
LIMITS = JsonLimits()

long_strings = st.sampled_from(
    [LONG, LONG + "é", "日本" * LONG_BYTES, LONG + "\n", LONG + '"', LONG + "\\", LONG * 9]
    + [LONG * 9 + end for end in ("\\", '"', "\n" + LONG)]  # far behind what is looked at
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["\0000", "\0001", "\0"]
)
scalars = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values = st.recursive(
    scalars | long_strings,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(texts | long_strings, v, max_size=4),
    max_leaves=8,
)


def outcome(data: bytes) -> object:
    """What the strict way says of a text: its value and spelling, or the code it is refused with."""
    try:
        check_text(data, LIMITS)
        return decode_distinct(data)
    except SekishoError as error:
        return error.code


def spelled(value: JsonValue, style: str) -> bytes:
    match style:
        case "plain":
            return orjson.dumps(value)
        case "escaped":
            return json.dumps(value, separators=(",", ":")).encode()
        case _:
            return json.dumps(value, ensure_ascii=False, indent=1).encode()


@given(value=values, style=st.sampled_from(["plain", "escaped", "blanks"]))
@settings(deadline=None, max_examples=150)
def test_a_value_with_long_strings_is_read_as_any_parser_reads_it(value: JsonValue, style: str) -> None:
    text = spelled([value, LONG * 9], style)  # large enough for the fast way
    read = outcome(text)
    assert isinstance(read, tuple)
    assert read[0] == json.loads(text)
    assert msgspec.json.decode(read[1]) == read[0]


@given(value=values, data=st.data())
@settings(deadline=None, max_examples=300)
@pytest.mark.threat("T-PARSER")
def test_with_one_byte_changed_anywhere_the_text_is_refused_or_read_as_any_parser_reads_it(
    value: JsonValue, data: st.DataObject
) -> None:
    text = bytearray(orjson.dumps([value, LONG * 9, value]))
    at = data.draw(
        st.integers(0, 60) | st.integers(len(text) - 60, len(text) - 1) | st.integers(0, len(text) - 1)
    )
    text[at] = data.draw(st.sampled_from(b'"\\\n\x00\x1f{}[],: x\xff\xc3\x80'))
    read = outcome(bytes(text))
    if isinstance(read, tuple):
        assert read[0] == json.loads(text)
    else:
        with pytest.raises((ValueError, msgspec.DecodeError)):
            msgspec.json.decode(bytes(text))


@pytest.mark.parametrize("control", range(0x20))
def test_a_control_character_within_a_long_string_is_refused_as_in_a_short_one(control: int) -> None:
    text = b'{"a":"' + LONG.encode() * 9 + bytes([control]) + b'"}'
    assert outcome(text) == "json_malformed"


def test_a_member_named_twice_beside_long_strings_is_refused() -> None:
    long = LONG.encode() * 9
    assert outcome(b'{"a":"' + long + b'","b":1,"a":2}') == "json_duplicate_key"
    assert outcome(b'{"' + long + b'":1,"' + long + b'":2}') == "json_duplicate_key"


def test_a_string_that_looks_like_a_mark_keeps_its_own_value() -> None:
    value = ["\0000", LONG * 9, "\0001", {"\0000": "\000" + "9" * 30}]
    read = outcome(orjson.dumps(value))
    assert isinstance(read, tuple)
    assert read[0] == value


@pytest.mark.parametrize(
    "text", ['"short"', '"' + LONG, "[" + '"' + LONG + '"', '["' + LONG + '",]', '"\\"' + LONG + '"']
)
def test_what_has_no_long_string_or_is_no_json_is_left_to_the_parser(text: str) -> None:
    assert read_around(text.encode()) is None


def test_a_text_with_much_beside_its_long_strings_is_left_to_the_parser() -> None:
    assert read_around(orjson.dumps([LONG, "x"])) == ([LONG, "x"], b'["\\u00000","x"]')
    assert read_around(orjson.dumps([LONG, [1] * MAX_REST_BYTES])) is None
