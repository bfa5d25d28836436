"""Call ids: none twice."""

from __future__ import annotations

from sekisho.gateway import CallIds


def test_ids_of_one_process_count_and_two_processes_share_none() -> None:
    first, second = CallIds(), CallIds()
    seen = [first() for _ in range(100)] + [second() for _ in range(100)]
    assert len(set(seen)) == 200
    assert all(len(one) == 24 and int(one, 16) >= 0 for one in seen)


def test_ids_go_on_counting_where_their_last_digits_begin_again() -> None:
    new_id = CallIds()
    numbers = [int(new_id(), 16) for _ in range(1000)]
    assert numbers == list(range(numbers[0], numbers[0] + 1000))
