"""Unfinished answers of one server have a bound in bytes, and a single one always may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Unavailable
from sekisho.plugin_server.unfinished import Unfinished

MOST = 100


def test_a_single_answer_is_not_refused_and_others_beside_it_are() -> None:
    held = Unfinished(MOST)
    held.change(0, 90)
    held.change(90, 5 * MOST)
    with pytest.raises(Unavailable) as caught:
        held.change(0, 1)
    assert (caught.value.code, held.size) == ("busy", 5 * MOST)
    held.change(5 * MOST, 0)
    held.change(0, 1)


def test_up_to_the_limit_all_is_well() -> None:
    held = Unfinished(MOST)
    for _ in range(4):
        held.change(0, 25)
    with pytest.raises(Unavailable):
        held.change(25, 26)
    held.change(25, 24)
    held.change(0, 1)
    assert held.size == MOST


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=50))
def test_the_sum_is_what_is_held_and_within_the_limit(changes: list[tuple[int, int]]) -> None:
    held, each = Unfinished(MOST), [0] * 5
    for which, size in changes:
        try:
            held.change(each[which], size)
            each[which] = size
        except Unavailable:
            assert sum(each) - each[which] + size > MOST
        assert held.size == sum(each) <= MOST
