"""The table in shared memory: what was put in is found, what lives is never pushed out, a torn entry is nobody's."""

from __future__ import annotations

import mmap

from hypothesis import given
from hypothesis import strategies as st

from sekisho.gateway.shared_table import DIGEST_BYTES, SharedTable

BUCKETS = 2
OFFSET = 64

digests = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES).filter(any)


def table() -> SharedTable:
    memory = mmap.mmap(-1, OFFSET + SharedTable.size(BUCKETS))
    return SharedTable(memory, memoryview(memory).cast("q"), OFFSET, BUCKETS)


@given(st.lists(st.tuples(digests, st.integers(1, 50), st.integers(0, 50)), max_size=200))
def test_it_keeps_every_living_entry_and_finds_it(steps: list[tuple[bytes, int, int]]) -> None:
    held, model, now = table(), dict[bytes, int](), 0
    for digest, life, passed in steps:
        now += passed
        place = held.find(digest)
        if place >= 0:
            held.set_until(place, now + life)
        else:
            place = held.place(digest, now + life, now)
        if place >= 0:
            model[digest] = now + life
            assert held.find(digest) == place
        for known, until in model.items():
            if until > now:
                found = held.find(known)
                assert found >= 0
                assert held.until(found) == until


def test_a_bucket_full_of_living_entries_takes_no_other_until_one_lapses() -> None:
    held = table()
    names = [number.to_bytes(4, "big") for number in range(200)]
    same = [bytes(4) + name * 3 for name in names if any(name)]  # one bucket for all
    placed = [held.place(digest, 10 + number, 0) for number, digest in enumerate(same)]
    assert placed[:32] == list(range(32))
    assert set(placed[32:]) == {-1}
    assert held.place(same[40], 99, 9) == -1
    assert [held.soonest(same[40], after=after) for after in (0, 10, 40, 41)] == [0, 1, 31, -1]
    assert held.place(same[40], 99, 10) == 0
    assert held.find(same[0]) == -1


def test_bytes_of_two_neighbours_are_not_an_entry() -> None:
    held = table()
    first, second = bytes(4) + b"a" * 12, bytes(4) + b"b" * 12
    held.place(first, 5, 0)
    held.place(second, 5, 0)
    across = b"a" * 12 + bytes(4)
    assert held.find(across) == -1
    assert held.find(second) == 1


def test_an_entry_of_somebody_stays_until_it_is_taken_out_or_its_owner_is_dropped() -> None:
    memory = mmap.mmap(-1, SharedTable.size(1))
    table = SharedTable(memory, memoryview(memory).cast("q"), 0, 1)
    names = [number.to_bytes(16, "big") for number in range(1, 34)]
    for number, name in enumerate(names[:32]):
        place, free = table.find_or_free(name)
        assert (place, free) == (-1, number)
        table.put(free, name, 1 + number % 2)
    assert table.find_or_free(names[32]) == (-1, -1)
    assert table.find_or_free(names[5]) == (5, -1)
    table.free(5)
    assert table.find_or_free(names[32]) == (-1, 5)
    table.drop(1)
    assert [table.find(name) >= 0 for name in names[:4]] == [False, True, False, True]
    table.clear()
    assert table.find(names[1]) < 0
