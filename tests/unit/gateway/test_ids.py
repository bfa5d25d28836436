"""Call ids: none twice, and none that tells of another."""

from __future__ import annotations

from itertools import pairwise

from sekisho.gateway import CallIds


def test_no_id_comes_twice_in_one_process_or_two() -> None:
    first, second = CallIds(), CallIds()
    seen = [first() for _ in range(1000)] + [second() for _ in range(1000)]
    assert len(set(seen)) == 2000
    assert all(len(one) == 24 and int(one, 16) >= 0 for one in seen)


def test_an_id_says_nothing_about_how_many_came_before_it() -> None:
    new_id = CallIds()
    ids = [new_id() for _ in range(600)]  # more than are drawn at once
    for place in range(0, 24, 4):  # four digits of 600 ids: by chance a few are alike, by counting most
        assert len({one[place : place + 4] for one in ids}) > 500
    ascending = sum(one < other for one, other in pairwise(ids))
    assert 200 < ascending < 400
