"""Bytes kept: compared with one limit at all workers, and who keeps most lets go."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.gateway import robust_mutex
from sekisho.gateway.budgets import LocalBudget, SharedBudget
from sekisho.gateway.shared_memory import SharedMemory

MOST = 100


@pytest.fixture
def workers() -> int:
    return 2


def test_one_process_lets_go_beyond_its_limit() -> None:
    budget = LocalBudget(MOST)
    assert [budget.keep(size) for size in (100, 101, 99)] == [False, True, False]
    assert not budget.is_exceeded()


@pytest.mark.threat("T-FLOOD")
def test_the_worker_that_keeps_more_than_its_share_lets_go_whoever_came_last(
    memories: list[SharedMemory],
) -> None:
    greedy, modest = (SharedBudget(memory, MOST) for memory in memories)
    assert not greedy.keep(90)
    assert not modest.keep(10)
    assert not modest.is_exceeded()
    assert not modest.keep(11)  # nobody is sent away here for what another keeps
    assert modest.is_exceeded()
    assert greedy.is_exceeded()
    assert greedy.keep(90)
    assert not greedy.keep(89)
    assert not modest.is_exceeded()


def _keep(folder: Path) -> None:
    SharedBudget(SharedMemory(folder, 1, 2), MOST).keep(95)


@pytest.mark.threat("T-FLOOD")
def test_what_a_killed_worker_kept_counts_no_more(tmp_path: Path, others: OtherWorkers) -> None:
    memory = SharedMemory(tmp_path, 0, 2)
    mine = SharedBudget(memory, MOST)
    child = others.pausing_after(partial(_keep, tmp_path))
    others.kill(child)
    assert not mine.keep(10)
    assert not mine.is_exceeded()
    memory.close()


def test_while_a_stopped_worker_holds_the_lock_each_has_its_share(
    memories: list[SharedMemory], others: OtherWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robust_mutex, "MAX_WAIT_S", 0.01)
    child = others.stopped_in(memories[1])
    mine = SharedBudget(memories[0], MOST)
    assert [mine.keep(50), mine.keep(51)] == [False, True]
    others.kill(child)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SharedMemory]]:
    folder = tmp_path_factory.mktemp("shared")
    made = [SharedMemory(folder, worker, 3) for worker in range(3)]
    yield made
    for memory in made:
        memory.close()


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2 * MOST)), max_size=40))
def test_beyond_the_limit_somebody_always_has_to_let_go_and_within_it_nobody(
    three: list[SharedMemory], steps: list[tuple[int, int]]
) -> None:
    workers = [SharedBudget(memory, MOST) for memory in three]
    sizes = [0, 0, 0]
    for worker, size in steps:
        sizes[worker] = size
        workers[worker].keep(size)
        said = [one.keep(mine) for one, mine in zip(workers, sizes, strict=True)]
        assert any(said) == (sum(sizes) > MOST) == workers[0].is_exceeded()
    for one in workers:
        one.keep(0)
