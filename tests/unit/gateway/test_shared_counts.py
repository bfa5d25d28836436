"""Counts of names for each worker: kept while anything is under way, given up when nothing is."""

from __future__ import annotations

import mmap

from sekisho.gateway.shared_counts import SharedCounts

WORKERS = 4


def counts() -> SharedCounts:
    memory = mmap.mmap(-1, SharedCounts.size(1, WORKERS))
    return SharedCounts(memory, memoryview(memory).cast("q"), 0, 1, WORKERS)


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_each_worker_counts_for_itself_and_one_can_be_dropped() -> None:
    held = counts()
    one, other = held.place(name(1)), held.place(name(2))
    for place, worker, change in ((one, 0, 2), (one, 3, 1), (other, 3, 5), (one, 0, -1)):
        held.add(place, worker, change)
    assert (held.total(one), held.total(other)) == (2, 5)
    held.drop(3)
    assert (held.total(one), held.total(other)) == (1, 0)
    assert held.place(name(1)) == one
    assert held.holds(one, name(1))


def test_a_name_with_calls_under_way_keeps_its_place_and_one_without_gives_it_up() -> None:
    held = counts()
    places = [held.place(name(number)) for number in range(1, 33)]
    assert sorted(places) == list(range(32))
    for place in places:
        held.add(place, 1, 1)
    assert held.place(name(40)) == -1
    held.add(places[7], 1, -1)
    assert held.place(name(40)) == places[7]
    assert not held.holds(places[7], name(8))
    held.add(places[7], 2, 1)
    assert held.place(name(8)) == -1
