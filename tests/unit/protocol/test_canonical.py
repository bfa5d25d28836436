"""Canonical bytes and digests."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import LocalProtocolError, RemoteProtocolError
from sekisho.protocol import JsonLimits, JsonValue, canonical_bytes, digest, parse_strict

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    # a whole double beyond 2^53 is written as an integer that I-JSON does not promise to keep
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | text
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=4))

# RFC 8785, section 3.2.2 and 3.2.3.
RFC_INPUT = rb"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
RFC_OUTPUT = (
    r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
)
RFC_SORTED = ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]


def test_the_vector_of_rfc_8785_is_met() -> None:
    assert canonical_bytes(parse_strict(RFC_INPUT, JsonLimits())) == RFC_OUTPUT.encode()


def test_keys_are_sorted_by_utf_16_units() -> None:
    value: JsonValue = dict.fromkeys(reversed(RFC_SORTED), 0)
    assert list(json.loads(canonical_bytes(value))) == RFC_SORTED


@given(values)
def test_canonical_bytes_are_stable_and_mean_the_same(value: JsonValue) -> None:
    once = canonical_bytes(value)
    again = parse_strict(once, JsonLimits())
    assert again == value
    assert canonical_bytes(again) == once


@given(st.dictionaries(text, scalars, max_size=5), st.data())
def test_the_order_of_members_changes_nothing(value: dict[str, JsonValue], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    assert canonical_bytes(shuffled) == canonical_bytes(value)


@given(values, values)
def test_different_values_have_different_bytes(one: JsonValue, other: JsonValue) -> None:
    same_text = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    if same_text:
        assert canonical_bytes(one) == canonical_bytes(other)
    elif one != other:
        assert canonical_bytes(one) != canonical_bytes(other)


@pytest.mark.parametrize(
    "value", [2**53, -(2**53), 10**30, math.nan, math.inf, -math.inf, "\ud800", {"\ud800": 1}, [[2**60]]]
)
def test_what_the_scheme_cannot_express_is_refused(value: JsonValue) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        canonical_bytes(value)
    assert caught.value.code == "plugin_protocol"


def test_hostile_depth_is_refused() -> None:
    value: JsonValue = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RemoteProtocolError):
        canonical_bytes(value)
    while (
        isinstance(value, list) and value
    ):  # taken apart here: tearing it down recursively is the test's own risk
        value = value.pop()


def test_a_digest_is_sha256_over_the_named_domain() -> None:
    assert digest("tool", b"{}") == "sha256:" + hashlib.sha256(b"\x04tool{}").hexdigest()


@given(st.text("abc/", min_size=1, max_size=9), st.binary(max_size=9), st.integers(1, 8))
def test_bytes_moved_between_domain_and_data_change_the_digest(domain: str, data: bytes, cut: int) -> None:
    whole = domain.encode() + data
    moved, rest = whole[:cut], whole[cut:]
    if moved.isascii() and moved.decode() != domain:
        assert digest(moved.decode(), rest) != digest(domain, data)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_one_flipped_bit_changes_the_digest(data: bytes, draw: st.DataObject) -> None:
    flipped = bytearray(data)
    flipped[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    assert digest("x", data) != digest("x", bytes(flipped))


@pytest.mark.parametrize("domain", ["", "x" * 256])
def test_a_digest_without_a_usable_domain_is_a_bug_of_ours(domain: str) -> None:
    with pytest.raises(LocalProtocolError):
        digest(domain, b"")
