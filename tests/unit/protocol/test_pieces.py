"""Bytes that arrive in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.protocol import Pieces
from sekisho.protocol.pieces import LARGE_BYTES

SIZES = st.one_of(st.integers(0, 5), st.integers(LARGE_BYTES - 2, LARGE_BYTES + 2))


@given(st.lists(SIZES, max_size=20))
def test_the_whole_is_what_the_pieces_were_in_their_order(sizes: list[int]) -> None:
    pieces, whole = Pieces(), b""
    for number, size in enumerate(sizes):
        piece = bytes([number]) * size
        pieces.add(piece)
        whole += piece
        assert pieces.size == len(whole)
    assert pieces.take() == whole
    assert (pieces.size, pieces.take()) == (0, b"")


@pytest.mark.threat("T-FLOOD")
def test_tiny_pieces_do_not_cost_an_object_each() -> None:
    pieces = Pieces()
    for _ in range(1000):
        pieces.add(b"ab")
        pieces.add(b"")
    assert len(pieces._pieces) == 1
