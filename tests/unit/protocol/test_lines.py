"""Lines out of a byte stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import LineReader


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(edges)]


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b""))), st.lists(st.integers(0, 300))
)
def test_the_pieces_in_which_lines_arrive_change_nothing(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    reader = LineReader(keep_blank=True)
    found = [line for piece in pieces_of(stream, cuts) for line in reader.feed(piece)]
    assert found == lines
    assert reader.held_bytes == 0


def test_blank_lines_are_dropped_and_an_unfinished_line_waits() -> None:
    reader = LineReader()
    assert reader.feed(b"\n \r\n\n{}\r\n[") == [b"{}\r"]
    assert reader.held_bytes == 1
    assert reader.feed(b"") == []
    assert reader.feed(b"]\n") == [b"[]"]


@pytest.mark.threat("T-FLOOD")
@given(st.lists(st.sampled_from([b"", b"\n", b"x", b"xyz", b"\nx", b"x\n", b"a\nb\n\nc"]), max_size=30))
def test_every_byte_of_a_line_is_kept_once(pieces: list[bytes]) -> None:
    reader = LineReader(keep_blank=True)
    found: list[bytes] = []
    for piece in pieces:
        before = reader.held_bytes
        lines = reader.feed(piece)
        assert sum(map(len, lines)) + len(lines) + reader.held_bytes == before + len(piece)
        found += lines
    assert b"".join(line + b"\n" for line in found) == b"".join(pieces)[: sum(map(len, found)) + len(found)]


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.threat("T-FLOOD")
def test_a_line_is_refused_as_soon_as_it_is_too_long() -> None:
    reader = LineReader(10)
    assert reader.feed(b"0123456789\n") == [b"0123456789"]
    assert reader.feed(b"0123456789") == []
    with pytest.raises(RemoteProtocolError) as caught:
        reader.feed(b"x")
    assert caught.value.code == "result_too_large"
    assert reader.held_bytes == 0


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("stream", [b"a\n" + b"x" * 11 + b"\nb\n", b"x" * 11 + b"\n", b"a\n" + b"x" * 11])
def test_a_long_line_is_refused_wherever_it_stands(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        LineReader(10).feed(stream)


@given(st.lists(st.binary(max_size=30), max_size=30))
@pytest.mark.threat("T-FLOOD")
def test_never_more_than_the_limit_is_held(pieces: list[bytes]) -> None:
    reader = LineReader(16)
    for piece in pieces:
        try:
            reader.feed(piece)
        except RemoteProtocolError:
            break
        assert reader.held_bytes <= 16
