"""Codings are read in pieces of any size, within bounds, and damage is told from an end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.decoding import FREE_BYTES, MAX_RATIO, Decoder, coding_of
from sekisho.errors import Refused


def bare(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


Pack = Callable[[bytes], bytes]
WAYS: Final[dict[str, tuple[str, Pack]]] = {
    "gzip": ("gzip", gzip.compress),
    "framed": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
}


def decoded(coding: str, data: bytes, cuts: Sequence[int] = ()) -> tuple[bytes, bool]:
    decoder = Decoder(coding)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    out = b"".join(decoder.feed(data[start:end]) for start, end in pairwise(edges))
    return out, decoder.is_whole


@pytest.mark.parametrize("way", WAYS)
@given(body=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_what_was_coded_is_read_however_it_comes_in(way: str, body: bytes, cuts: list[int]) -> None:
    coding, pack = WAYS[way]
    assert decoded(coding, pack(body), cuts) == (body, True)


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(0, 600), max_size=6))
def test_members_are_one_body(bodies: list[bytes], cuts: list[int]) -> None:
    assert decoded("gzip", b"".join(map(gzip.compress, bodies)), cuts) == (b"".join(bodies), True)


@pytest.mark.parametrize("way", WAYS)
@given(st.data())
def test_an_end_before_the_end_is_seen(way: str, data: st.DataObject) -> None:
    coding, pack = WAYS[way]
    packed = pack(b"a text that is cut")
    at = data.draw(st.integers(1, len(packed) - 1))
    assert not decoded(coding, packed[:at])[1]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_behind_the_end_is_refused(way: str) -> None:
    coding, pack = WAYS[way]
    with pytest.raises(Refused, match=r"damaged|behind its end"):
        decoded(coding, pack(b"text") + b"ghp_16C7e42F292c6912E771")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_plain_body_under_the_name_of_a_coding_is_damage(coding: str) -> None:
    with pytest.raises(Refused, match="damaged"):
        decoded(coding, b'{"token": "ghp_16C7e42F292c6912E771"}')


def test_a_flipped_byte_is_damage() -> None:
    packed = bytearray(gzip.compress(b"a text"))
    packed[-6] ^= 1
    with pytest.raises(Refused, match="damaged"):
        decoded("gzip", bytes(packed))


@pytest.mark.parametrize("way", WAYS)
def test_a_bomb_goes_off_small(way: str) -> None:
    coding, pack = WAYS[way]
    packed = pack(bytes(4 * FREE_BYTES))
    decoder = Decoder(coding)
    given_out: list[int] = []

    def set_off() -> None:
        for at in range(0, len(packed), 1000):
            given_out.append(len(decoder.feed(packed[at : at + 1000])))

    with pytest.raises(Refused, match="far too much"):
        set_off()
    assert sum(given_out) <= FREE_BYTES


def test_a_bomb_in_many_members_is_one() -> None:
    member = gzip.compress(bytes(FREE_BYTES // 8))
    with pytest.raises(Refused, match="far too much"):
        decoded("gzip", member * 20)


def test_an_ordinary_ratio_may_go_on_beyond_what_is_free() -> None:
    line = b'{"id": 1234, "name": "somebody", "url": "https://api.example.com/users/1234"}\n'
    body = b"".join(
        line.replace(b"1234", b"%06d" % (n * 7919 % 1000003)) for n in range(FREE_BYTES // len(line) * 2)
    )
    packed = gzip.compress(body)
    assert len(body) < MAX_RATIO * len(packed)
    assert decoded("gzip", packed) == (body, True)


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], ""), ([b"identity"], ""), ([b""], ""), ([b"GZip"], "gzip"), ([b"x-gzip"], "gzip"),
        ([b"identity", b" deflate "], "deflate"),
    ],
)  # fmt: skip
def test_a_coding_is_known_by_its_name(values: list[bytes], coding: str) -> None:
    assert coding_of(values) == coding


@pytest.mark.parametrize(
    "values", [[b"br"], [b"zstd"], [b"gzip, gzip"], [b"gzip", b"br"], [b"g zip"], [b"compress"]]
)
def test_what_cannot_be_read_is_refused(values: list[bytes]) -> None:
    with pytest.raises(Refused, match="compressed"):
        coding_of(values)
    assert coding_of(values, is_read=False)
