"""Ids of requests under way: one of each in a session, at whichever worker."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.errors import Unavailable
from sekisho.gateway.request_ids import SharedRequestIds
from sekisho.gateway.shared_memory import SharedMemory

WAYS = 32


def test_an_id_is_under_way_once_in_a_session_until_it_was_answered(memories: list[SharedMemory]) -> None:
    one, two = (SharedRequestIds(memory) for memory in memories)
    assert one.take("s", 1)
    assert not two.take("s", 1)
    assert not one.take("s", 1)
    assert two.take("s", 2)
    assert two.take("other", 1)
    one.give("s", 1)
    assert two.take("s", 1)
    assert not one.take("s", 1)


def test_a_number_and_a_text_are_two_ids_and_any_text_is_one(memories: list[SharedMemory]) -> None:
    one = SharedRequestIds(memories[0])
    ids: list[int | str] = [1, "1", -1, "-1", "", "\ud800", 1 << 62, '"']
    assert all(one.take("s", ident) for ident in ids)
    assert not any(one.take("s", ident) for ident in ids)


def _ask(folder: Path) -> None:
    SharedRequestIds(SharedMemory(folder, 5)).take("s", 1)


def test_the_ids_of_a_killed_worker_are_free_at_once_and_its_successor_begins_with_none(
    tmp_path: Path, memories: list[SharedMemory], others: OtherWorkers
) -> None:
    mine = SharedRequestIds(memories[0])
    for _ in range(2):
        child = others.pausing_after(partial(_ask, tmp_path))
        assert not mine.take("s", 1)
        others.kill(child)
        assert mine.take("s", 1)
        mine.give("s", 1)


def test_a_full_table_refuses_instead_of_forgetting(memories: list[SharedMemory]) -> None:
    one = SharedRequestIds(memories[0])
    table = memories[0].requests
    # ids whose places are in the first bucket, and one more than it has
    chosen = (number for number in itertools.count() if table.neighbours(one.digest("s", number)).start == 0)
    for number in itertools.islice(chosen, WAYS):
        assert one.take("s", number)
    with pytest.raises(Unavailable) as caught:
        one.take("s", next(chosen))
    assert caught.value.code == "busy"


steps = st.lists(
    st.tuples(
        st.booleans(), st.booleans(), st.sampled_from("ab"), st.one_of(st.integers(0, 3), st.text(max_size=1))
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SharedMemory]]:
    folder = tmp_path_factory.mktemp("shared")
    made = [SharedMemory(folder, worker) for worker in range(2)]
    yield made
    for memory in made:
        memory.close()


@given(steps=steps)
def test_two_workers_judge_every_sequence_as_one_process_does(
    kept: list[SharedMemory], steps: list[tuple[bool, bool, str, int | str]]
) -> None:
    workers = [SharedRequestIds(memory) for memory in kept]
    held: dict[tuple[str, int | str], bool] = {}
    for worker, gives, session, ident in steps:
        if gives and held:
            (whose, which), holder = held.popitem()
            workers[holder].give(whose, which)
            continue
        is_new = (session, ident) not in held
        assert workers[worker].take(session, ident) == is_new
        if is_new:
            held[session, ident] = worker
    for (whose, which), holder in held.items():
        workers[holder].give(whose, which)
