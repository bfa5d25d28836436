from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.keys.memo import Memo


def test_what_is_dead_is_never_found() -> None:
    memo: Memo[str, int] = Memo(9)
    memo.put("a", 1, 10.0, 0.0)
    assert memo.find("a", 9.9) == 1
    assert memo.find("a", 10.0) is None
    assert len(memo) == 0


def test_what_is_dead_already_is_not_kept() -> None:
    memo: Memo[str, int] = Memo(9)
    memo.put("a", 1, 5.0, 5.0)
    assert len(memo) == 0


def test_what_was_there_longest_makes_room() -> None:
    memo: Memo[str, int] = Memo(2)
    for number, name in enumerate("abab"):
        memo.put(name, number, 10.0, 0.0)
    memo.put("c", 9, 10.0, 0.0)
    assert [memo.find(name, 0.0) for name in "abc"] == [None, 3, 9]


def test_values_can_be_dropped_by_what_they_are() -> None:
    memo: Memo[str, int] = Memo(9)
    memo.put("a", 1, 10.0, 0.0)
    memo.put("b", 2, 10.0, 0.0)
    memo.drop(lambda value: value == 1)
    assert [memo.find(name, 0.0) for name in "ab"] == [None, 2]
    memo.clear()
    assert len(memo) == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9), st.floats(0, 9))))
def test_it_never_holds_more_than_it_may(steps: list[tuple[int, float, float]]) -> None:
    memo: Memo[int, int] = Memo(3)
    for key, until, now in steps:
        memo.put(key, key, until, now)
        assert len(memo) <= 3
        assert memo.find(key, now) == (key if until > now else memo.find(key, now))
