"""Counts of names for each worker: kept while anything is under way, given up when nothing is."""

from __future__ import annotations

import mmap

from sekisho.gateway.shared_counts import Row, SharedCounts

MOST = 4


def workers(count: int = 2) -> list[SharedCounts]:
    """What each worker sees of one memory."""
    memory = mmap.mmap(-1, SharedCounts.size(1, MOST))
    stamps = memoryview(memory).cast("q")
    return [
        SharedCounts(memory, stamps, 0, 1, worker=worker, workers=count, most_workers=MOST)
        for worker in range(count)
    ]


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def row_of(held: SharedCounts, number: int) -> Row:
    found = held.row(name(number))
    assert found is not None
    return found


def total(held: SharedCounts, number: int) -> int:
    row = row_of(held, number)
    return sum(held.counts[row.first : row.last])


def test_each_worker_counts_for_itself_and_one_can_be_dropped() -> None:
    one, other = workers()
    for held, number, change in ((one, 1, 2), (other, 1, 1), (other, 2, 5), (one, 1, -1)):
        held.counts[row_of(held, number).mine] += change
    assert (total(one, 1), total(other, 2)) == (2, 5)
    one.drop(1)
    assert (total(one, 1), total(other, 2)) == (1, 0)


def test_all_calls_are_forgotten_at_once() -> None:
    one, other = workers()
    one.counts[row_of(one, 1).mine] += 3
    other.counts[row_of(other, 2).mine] += 4
    one.clear()
    assert (total(one, 1), total(other, 2)) == (0, 0)
    assert one.memory[row_of(one, 1).name] == name(1)


def test_a_name_with_calls_under_way_keeps_its_row_and_one_without_gives_it_up() -> None:
    one, other = workers()
    rows = [row_of(one, number) for number in range(1, 33)]
    assert len({row.first for row in rows}) == 32
    for row in rows:
        one.counts[row.mine] += 1
    assert other.row(name(40)) is None
    one.counts[rows[7].mine] -= 1
    taken = row_of(other, 40)
    assert taken.first == rows[7].first
    assert one.memory[rows[7].name] == name(40) != rows[7].digest
    other.counts[taken.mine] += 1
    assert one.row(name(8)) is None
