"""Room for calls under way: as much as configured, of all workers together, and a dead worker's again."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.gateway import robust_mutex
from sekisho.gateway.berths import BerthLimits, Berths, LocalBerths, SharedBerths
from sekisho.gateway.shared_memory import SharedMemory

LIMITS = BerthLimits(total=3, of_client=3, of_plugin=3)
SHARES = BerthLimits(total=9, of_client=2, of_plugin=3)
ALL = [None, None, None]


@pytest.fixture(params=["alone", "shared"])
def both(request: pytest.FixtureRequest, memories: list[SharedMemory]) -> tuple[Berths, Berths]:
    """Berths of one process twice, or of two workers."""
    if request.param == "alone":
        berths = LocalBerths(SHARES)
        return berths, berths
    return SharedBerths(memories[0], SHARES), SharedBerths(memories[1], SHARES)


def test_one_process_takes_what_there_is_and_no_more() -> None:
    berths: Berths = LocalBerths(LIMITS)
    assert [berths.take("aya", "calc") for _ in range(3)] == ALL
    assert berths.take("ben", "other") is not None
    berths.give("aya", "calc")
    assert berths.taken == 2
    assert berths.take("ben", "other") is None


@pytest.mark.threat("T-FLOOD")
def test_workers_share_the_room(memories: list[SharedMemory]) -> None:
    one, two = (SharedBerths(memory, LIMITS) for memory in memories)
    for berths in (one, two, one):
        assert berths.take("aya", "calc") is None
    assert one.take("ben", "other") == two.take("ben", "other") != None  # noqa: E711  # both say why
    assert (one.taken, two.taken) == (2, 1)
    one.give("aya", "calc")
    assert two.take("ben", "other") is None
    assert one.take("ben", "other") is not None


@pytest.mark.threat("T-FLOOD", "T-HANG")
def test_a_client_and_a_plugin_have_their_share_and_no_more(both: tuple[Berths, Berths]) -> None:
    one, two = both
    assert [one.take("aya", "calc"), two.take("aya", "calc")] == [None, None]
    assert "client" in str(one.take("aya", "other"))
    assert one.take("ben", "calc") is None
    assert "plugin" in str(two.take("ben", "calc"))
    assert two.take("ben", "other") is None
    one.give("aya", "calc")
    assert two.take("aya", "other") is None


def _hold(folder: Path) -> None:
    memory = SharedMemory(folder, 5)
    berths = SharedBerths(memory, LIMITS)
    while berths.take("aya", "calc") is None:
        pass


@pytest.mark.threat("T-FLOOD")
def test_what_a_killed_worker_held_is_free_when_it_is_needed(
    tmp_path: Path, memories: list[SharedMemory], others: OtherWorkers
) -> None:
    now = 0.0
    mine = SharedBerths(memories[0], LIMITS, clock=lambda: now)
    child = others.pausing_after(partial(_hold, tmp_path))
    assert mine.take("aya", "calc") is not None
    others.kill(child)
    assert mine.take("aya", "calc") is not None  # asked a moment ago
    now = 1.0
    assert [mine.take("aya", "calc") for _ in range(3)] == ALL
    assert mine.take("aya", "calc") is not None


def test_a_lock_that_cannot_be_had_is_no_room(
    memories: list[SharedMemory], others: OtherWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robust_mutex, "MAX_WAIT_S", 0.01)
    child = others.stopped_in(memories[1])
    assert SharedBerths(memories[0], LIMITS).take("aya", "calc") is not None
    others.kill(child)
    assert SharedBerths(memories[0], LIMITS).take("aya", "calc") is None


steps = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc"), st.sampled_from("xy")), max_size=60
)


@given(steps)
def test_two_workers_judge_every_sequence_as_one_process_does(
    steps: list[tuple[bool, bool, str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memories = [SharedMemory(Path(folder), worker) for worker in range(2)]
        workers = [SharedBerths(memory, SHARES) for memory in memories]
        alone, held = LocalBerths(SHARES), list[tuple[bool, str, str]]()
        for worker, gives, client, plugin in steps:
            if gives and held:
                holder, *who = held.pop()
                workers[holder].give(*who)
                alone.give(*who)
                continue
            reason = alone.take(client, plugin)
            assert workers[worker].take(client, plugin) == reason
            if reason is None:
                held.append((worker, client, plugin))
        assert memories[0].in_flight() == alone.taken == len(held)
        for memory in memories:
            memory.close()
