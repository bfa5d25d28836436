"""Strict JSON text."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.protocol import (
    JsonLimits,
    JsonValue,
    check_text,
    decode_distinct,
    json_text,
    parse_strict,
    read_alike,
    read_distinct,
    reemit,
)
from sekisho.protocol.json_text import MAX_DEPTH

LIMITS = JsonLimits(max_bytes=100_000, max_depth=8, max_members=50)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4))


def code_of(data: bytes, limits: JsonLimits = LIMITS) -> str:
    with pytest.raises(SekishoError) as caught:
        parse_strict(data, limits)
    return caught.value.code


@given(values)
def test_every_value_survives_the_round_trip(value: JsonValue) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    assert parse_strict(text, JsonLimits()) == json.loads(text)


@given(values)
def test_reemitted_text_means_the_same_and_is_stable(value: JsonValue) -> None:
    once = reemit(json.dumps(value, indent=1).encode())
    assert json.loads(once) == value
    assert reemit(once) == once


@given(values, st.data())
@pytest.mark.threat("T-PARSER")
def test_after_one_flipped_bit_both_parsers_agree_or_the_text_is_refused(
    value: JsonValue, data: st.DataObject
) -> None:
    text = bytearray(json.dumps(value, ensure_ascii=False).encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        ours = parse_strict(bytes(text), JsonLimits())
    except SekishoError:
        return
    assert ours == json.loads(text.decode())


@given(st.binary(max_size=200))
@pytest.mark.threat("T-PARSER")
def test_any_bytes_are_a_value_or_a_refusal(data: bytes) -> None:
    try:
        value = parse_strict(data, LIMITS)
    except SekishoError:
        return
    assert value == json.loads(data)


@given(st.text(alphabet='{}[]",:\\u0d18aA1e-. \n', max_size=60))
@pytest.mark.threat("T-PARSER")
def test_json_like_text_is_read_as_the_standard_library_reads_it_or_refused(text: str) -> None:
    try:
        value = parse_strict(text.encode(), LIMITS)
    except SekishoError:
        return
    assert value == json.loads(text)


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"x":{"a":1,"b":[{"c":1,"c":1}]}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a" : 1 , "a":2}',
        '{"é":1,"\\u00e9":2}'.encode(),
        b'{"":1,"":2}',
    ],
)
def test_a_key_named_twice_is_refused_at_any_depth_and_in_any_spelling(text: bytes) -> None:
    assert code_of(text) == "json_duplicate_key"
    with pytest.raises(RemoteProtocolError):
        reemit(text)


@given(st.dictionaries(keys, scalars, min_size=1, max_size=5), st.data())
@pytest.mark.threat("T-PARSER")
def test_a_member_repeated_anywhere_is_refused(members: dict[str, JsonValue], data: st.DataObject) -> None:
    pairs = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in members.items()]
    pairs.insert(data.draw(st.integers(0, len(pairs))), data.draw(st.sampled_from(pairs)))
    assert code_of(("[{" + ",".join(pairs) + "}]").encode()) == "json_duplicate_key"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "text",
    [
        b"NaN", b"Infinity", b"-Infinity", b'"\\ud800"', b'"\\udc00\\ud800"', b"\xef\xbb\xbf{}", b'"\xff"',
        b'"\xc0\xaf"', b'"\xed\xa0\x80"', '{"a":1}'.encode("utf-16"), b"", b" ", b"{", b"[1,]", b'{"a":1,}',
        b"01", b"1.", b".5", b"+1", b"{}{}", b"{} x", b"// c\n{}", b"'a'", b'"a\x01"', b'"\\x41"', b"tru",
        b"\x00",
    ],
)  # fmt: skip
def test_what_readers_disagree_about_is_refused(text: bytes) -> None:
    assert code_of(text) == "json_malformed"


def test_big_integers_keep_every_digit() -> None:
    for number in (2**53 + 1, 2**64, -(2**63) - 1, 10**200 + 7):
        assert parse_strict(b'{"n":%d}' % number, LIMITS) == {"n": number}
        assert reemit(b'{ "n": %d }' % number) == b'{"n":%d}' % number


@pytest.mark.parametrize("text", [b"1e999", b"-1e999", b"9" * 5000])
def test_numbers_out_of_range_are_refused(text: bytes) -> None:
    assert code_of(text) == "json_too_large"


@pytest.mark.threat("T-FLOOD")
def test_a_text_over_the_size_is_refused() -> None:
    limits = JsonLimits(max_bytes=10)
    check_text(b'"12345678"', limits)
    with pytest.raises(Refused) as caught:
        check_text(b'"123456789"', limits)
    assert caught.value.code == "body_too_large"


@pytest.mark.threat("T-FLOOD")
def test_depth_is_counted_exactly() -> None:
    assert parse_strict(b"[" * 8 + b"]" * 8, LIMITS) is not None
    assert code_of(b"[" * 9 + b"]" * 9) == "json_too_deep"
    assert code_of(b'{"a":' * 9 + b"1" + b"}" * 9) == "json_too_deep"
    assert parse_strict(b"[" + b"[],{}," * 10 + b"1]", LIMITS) is not None


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 5_000, 100_000])
@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{ "a":', b"}")])
def test_the_widest_limit_is_one_that_every_interpreter_keeps(
    levels: int, opens: bytes, closes: bytes
) -> None:
    limits = JsonLimits(max_bytes=1 << 20, max_depth=MAX_DEPTH, max_members=10**7)
    core = b"[]"
    depth = MAX_DEPTH - 1
    assert parse_strict(opens * depth + core + closes * depth, limits) is not None
    assert code_of(opens * levels + core + closes * levels, limits) == "json_too_deep"


@pytest.mark.threat("T-FLOOD")
def test_a_text_that_nobody_checked_does_not_exhaust_the_stack() -> None:
    with pytest.raises(RemoteProtocolError):
        reemit(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.threat("T-FLOOD")
def test_members_are_counted_exactly() -> None:
    assert parse_strict(b"[" + b"1," * 48 + b"1]", LIMITS) is not None
    assert code_of(b"[" + b"1," * 60 + b"1]") == "json_too_large"


def test_brackets_and_commas_in_strings_do_not_count() -> None:
    text = json.dumps({"a": '[{,"\\' * 500, "b\\": "]}"}).encode()
    assert parse_strict(text, LIMITS) == json.loads(text)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("text", [b'"\\' * 40_000, b'"' + b'\\"' * 49_000, b'["' + b"[" * 9_000])
def test_unterminated_strings_cost_linear_time_and_are_refused(text: bytes) -> None:
    assert code_of(text, JsonLimits(max_bytes=200_000, max_depth=8)).startswith("json_")


def test_limits_that_allow_nothing_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="positive"):
        JsonLimits(max_depth=0)
    with pytest.raises(ValueError, match="no reader"):
        JsonLimits(max_depth=MAX_DEPTH + 1)


def test_reemit_takes_raw_values() -> None:
    assert reemit(msgspec.Raw(b'{ "a": [1, 2.50, "\\u00e9"] }')) == '{"a":[1,2.5,"é"]}'.encode()


@given(st.lists(st.sampled_from([b"x" * 5000, b"," * 300, b",x" * 5000, b"{", b"y"]), max_size=8))
def test_counting_by_leaps_counts_the_same(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    for char in (b",", b"{"):
        assert json_text._count(data, char) == data.count(char)


_QUOTED = st.lists(st.sampled_from([b'"', b"\\", b"\\\\", b"[", b",", b"{x}", b"\\" * 65, b"y"]), max_size=30)


@given(_QUOTED)
def test_what_stands_outside_of_strings_is_found_by_leaps_or_all_is_looked_at(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert json_text._outside_strings(data) in (data, json_text._STRING.sub(b"", data))


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("many", [b'""', b'"\\""', b'"' + b"\\" * 80 + b'"'])
def test_brackets_in_long_texts_count_outside_of_strings_only(many: bytes) -> None:
    limits = JsonLimits(max_bytes=10**7, max_depth=3, max_members=10_000)
    long = b'"' + b"[{,}]" * 4000 + b'"'
    for count in (1, 3000):
        inner = b"[" + b",".join([long, *[many] * count]) + b"]"
        check_text(inner, limits)
        check_text(b"[[" + inner + b"]]", limits)
        assert code_of(b"[[[" + inner + b"]]]", limits) == "json_too_deep"
    assert code_of(b"[" + long + b",1" * 10_000 + b"]", limits) == "json_too_large"


_LONG = "z" * json_text.LARGE_BYTES


@pytest.mark.threat("T-FLOOD")
@given(
    depth=st.integers(1, 12),
    members=st.integers(0, 12),
    noise=st.sampled_from(["", "[{" * 40, ",," * 40, "[" * json_text.LARGE_BYTES]),
    is_lying=st.booleans(),
)
def test_a_large_text_has_the_limits_of_a_small_one_whatever_stands_in_its_strings(
    depth: int, members: int, noise: str, is_lying: bool
) -> None:
    limits = JsonLimits(max_depth=8, max_members=16, max_string_bytes=len(_LONG) + 64)
    text = json.dumps([noise, _LONG, *members * [1]], separators=(",", ":"))
    data = ("[" * (depth - 1) + text + "]" * (depth - 1)).encode()
    longest = max(len(noise), len(_LONG))
    fits = depth <= 8 and depth + 1 + members <= 16 and longest <= limits.max_string_bytes
    given_data = bytearray(data) if is_lying else data
    if fits:
        assert read_alike(given_data, limits) == json.loads(data)
        assert read_distinct(data, limits) == (json.loads(data), data)
        return
    with pytest.raises(SekishoError):
        read_alike(given_data, limits)
    with pytest.raises(SekishoError):
        read_distinct(data, limits)


def test_what_is_not_written_as_it_stands_is_no_texts_value_for_the_short_way() -> None:
    for text in (b'{"a":1, "b":"%b"}', b'{"a":1,"a":"%b"}', b'["%b",1', b'["%b\xff"]', b'["\\/%b"]', b"[1]"):
        assert read_alike(text.replace(b"%b", _LONG.encode()), JsonLimits()) is None


@given(values)
def test_a_large_text_is_read_as_a_small_one(value: JsonValue) -> None:
    limits = JsonLimits(max_bytes=10**7)
    for text in (
        msgspec.json.encode([value, _LONG]),
        json.dumps([value, _LONG]).encode(),
        json.dumps([value, _LONG], ensure_ascii=False, indent=1).encode(),
    ):
        read = parse_strict(text, limits)
        assert read == json.loads(text)
        assert msgspec.json.decode(reemit(text)) == read


_PIECES = st.sampled_from(
    [
        b'"',
        b"\\",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        "が".encode(),
        b"\xe3\x81",
        b"[",
        b"1",
        b",",
        b"a",
    ]
)


@pytest.mark.threat("T-PARSER")
@given(
    st.lists(_PIECES, max_size=4), st.lists(_PIECES, max_size=4), st.lists(_PIECES, max_size=2), st.booleans()
)
def test_reading_at_once_says_what_checking_and_then_reading_say(
    before: list[bytes], within: list[bytes], behind: list[bytes], is_large: bool
) -> None:
    limits = JsonLimits(max_depth=2)
    long = _LONG.encode() if is_large else b"z"
    text = b"".join(before) + b'["' + long + b"".join(within) + b'"]' + b"".join(behind)

    def by_steps() -> tuple[JsonValue, bytes]:
        check_text(text, limits)
        return decode_distinct(text)

    try:
        expected = by_steps()
    except SekishoError:
        with pytest.raises(SekishoError):
            read_distinct(text, limits)
    else:
        assert read_distinct(text, limits) == expected


@pytest.mark.parametrize(
    "limits", [JsonLimits(max_bytes=1000), JsonLimits(max_depth=1), JsonLimits(max_members=3)]
)
def test_reading_at_once_keeps_the_limits(limits: JsonLimits) -> None:
    for inner in (b'["%b",2]' % _LONG.encode(), b'["%b",[[1]]]' % _LONG.encode()):
        text = b"[%b,1,2]" % inner
        with pytest.raises(SekishoError) as by_steps:
            check_text(text, limits)
        with pytest.raises(SekishoError) as at_once:
            read_distinct(text, limits)
        assert at_once.value.code == by_steps.value.code


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_both_encoders_write_strings_alike(text: str) -> None:
    """Content rules are made for one spelling of a string."""
    assert json_text._fast_encoder()([text]) == msgspec.json.encode([text])


@pytest.mark.parametrize("head", [b'{"a":1,"a":1,"b":"', b'{"b":"', b'{"c":{"x":"","x":""},"b":"'])
def test_a_key_named_twice_in_a_large_text_is_refused(head: bytes) -> None:
    text = head + _LONG.encode() + b'"'
    limits = JsonLimits(max_bytes=10**7)
    assert code_of(text + b',"b":""}', limits) == "json_duplicate_key"
    if head == b'{"b":"':
        assert parse_strict(text + b',"d":-12345678901234567890123}', limits) is not None


@pytest.mark.threat("T-FLOOD")
def test_the_number_of_members_is_a_limit_in_small_and_large_texts() -> None:
    for most in (10, 1000, 200_000):
        limits = JsonLimits(max_members=most)
        check_text(b"[" + b"1," * (most - 1) + b"1]", limits)
        with pytest.raises(SekishoError) as caught:
            check_text(b"[" + b"1," * most + b"1]", limits)
        assert caught.value.code == "json_too_large"
