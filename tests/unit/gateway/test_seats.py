"""Seats: as many as may be taken, of all workers together, and a dead worker's again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.gateway import robust_mutex
from sekisho.gateway.seats import HOUSE, LocalSeats, Seats, SharedSeats
from sekisho.gateway.shared_memory import SharedMemory


@pytest.fixture(params=["alone", "shared"])
def both(request: pytest.FixtureRequest, memories: list[SharedMemory]) -> tuple[Seats, Seats]:
    """Seats of one process twice, or of two workers."""
    if request.param == "alone":
        seats = LocalSeats()
        return seats, seats
    return SharedSeats(memories[0], "stream"), SharedSeats(memories[1], "stream")


@pytest.mark.threat("T-FLOOD")
def test_a_name_has_as_many_as_it_may_and_others_have_theirs(both: tuple[Seats, Seats]) -> None:
    one, two = both
    assert [one.take("aya", 2), two.take("aya", 2), one.take("aya", 2)] == [True, True, False]
    assert two.take("ben", 2)
    assert one.is_full("aya", 2)
    assert not one.is_full("ben", 2)
    one.give("aya")
    assert not two.is_full("aya", 2)
    assert [two.take("aya", 2), two.take("aya", 2)] == [True, False]


@pytest.mark.threat("T-FLOOD")
def test_many_are_taken_and_given_at_once(both: tuple[Seats, Seats]) -> None:
    one, two = both
    assert one.take("aya", 10, 7)
    assert not two.take("aya", 10, 4)
    assert two.take("aya", 10, 3)
    assert not one.take("aya", 10)
    one.give("aya", 5)
    assert two.take("aya", 10, 5)
    two.give("aya", 8)
    one.give("aya", 2)
    assert one.take("aya", 10, 10)


def test_kinds_are_counted_apart(memories: list[SharedMemory]) -> None:
    streams, connections = (SharedSeats(memories[0], kind) for kind in ("stream", "connection"))
    assert streams.take("aya", 1)
    assert connections.take("aya", 1)
    assert not streams.take("aya", 1)
    assert connections.take(HOUSE, 1)


def _sit(folder: Path) -> None:
    seats = SharedSeats(SharedMemory(folder, 5), "stream")
    while seats.take("aya", 3):
        pass


@pytest.mark.threat("T-FLOOD")
def test_what_a_killed_worker_had_is_free_when_it_is_needed(
    tmp_path: Path, memories: list[SharedMemory], others: OtherWorkers
) -> None:
    now = 0.0
    mine = SharedSeats(memories[0], "stream", clock=lambda: now)
    child = others.pausing_after(partial(_sit, tmp_path))
    assert not mine.take("aya", 3)
    others.kill(child)
    assert not mine.take("aya", 3)  # asked a moment ago
    now = 1.0
    assert [mine.take("aya", 3) for _ in range(4)] == [True, True, True, False]


def test_a_lock_that_cannot_be_had_is_no_room(
    memories: list[SharedMemory], others: OtherWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robust_mutex, "MAX_WAIT_S", 0.01)
    child = others.stopped_in(memories[1])
    mine = SharedSeats(memories[0], "stream")
    assert not mine.take("aya", 3)
    assert mine.is_full("aya", 3)
    others.kill(child)
    assert mine.take("aya", 3)


steps = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), max_size=60)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SharedMemory]]:
    folder = tmp_path_factory.mktemp("shared")
    made = [SharedMemory(folder, worker) for worker in range(2)]
    yield made
    for memory in made:
        memory.close()


@given(steps=steps)
def test_two_workers_count_every_sequence_as_one_process_does(
    kept: list[SharedMemory], steps: list[tuple[bool, bool, str]]
) -> None:
    workers = [SharedSeats(memory, "stream") for memory in kept]
    alone, held = LocalSeats(), list[tuple[bool, str]]()
    for worker, gives, name in steps:
        assert workers[worker].is_full(name, 2) == alone.is_full(name, 2)
        if gives and held:
            holder, whose = held.pop()
            workers[holder].give(whose)
            alone.give(whose)
        elif alone.take(name, 2):
            assert workers[worker].take(name, 2)
            held.append((worker, name))
        else:
            assert not workers[worker].take(name, 2)
    for holder, whose in held:
        workers[holder].give(whose)
