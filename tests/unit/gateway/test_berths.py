"""Room for calls under way: as much as configured, of all workers together, and a dead worker's again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.gateway import robust_mutex
from sekisho.gateway.berths import Berths, LocalBerths, SharedBerths, Shares
from sekisho.gateway.shared_memory import SharedMemory

LIMIT = 3


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[list[SharedMemory]]:
    made = [SharedMemory(tmp_path, worker) for worker in range(2)]
    yield made
    for memory in made:
        memory.close()


def test_one_process_takes_what_there_is_and_no_more() -> None:
    berths: Berths = LocalBerths(LIMIT)
    assert [berths.take() for _ in range(LIMIT + 1)] == [True, True, True, False]
    berths.give()
    assert berths.taken == LIMIT - 1
    assert berths.take()


@pytest.mark.threat("T-FLOOD")
def test_workers_share_the_room(memories: list[SharedMemory]) -> None:
    one, two = (SharedBerths(memory, LIMIT) for memory in memories)
    assert [one.take(), two.take(), one.take(), two.take(), one.take()] == [True, True, True, False, False]
    assert (one.taken, two.taken) == (2, 1)
    one.give()
    assert two.take()
    assert not one.take()


def _hold_and_wait(folder: Path, told: int) -> None:
    memory = SharedMemory(folder, 5)
    berths = SharedBerths(memory, LIMIT)
    while berths.take():
        pass
    os.write(told, b"x")
    signal.pause()


@pytest.mark.threat("T-FLOOD")
def test_what_a_killed_worker_held_is_free_when_it_is_needed(
    tmp_path: Path, memories: list[SharedMemory]
) -> None:
    now = 0.0
    mine = SharedBerths(memories[0], LIMIT, clock=lambda: now)
    hear, told = os.pipe()
    child = os.fork()
    if child == 0:
        _hold_and_wait(tmp_path, told)
    assert os.read(hear, 1) == b"x"
    assert not mine.take()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not mine.take()  # asked a moment ago
    now = 1.0
    assert [mine.take() for _ in range(LIMIT + 1)] == [True, True, True, False]
    os.close(hear)
    os.close(told)


def test_a_lock_that_cannot_be_had_is_no_room(
    memories: list[SharedMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robust_mutex, "MAX_WAIT_S", 0.01)
    child = os.fork()
    if child == 0:
        memories[1].mutex.acquire()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    assert not SharedBerths(memories[0], LIMIT).take()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert SharedBerths(memories[0], LIMIT).take()


def test_a_client_and_a_plugin_have_their_share_and_no_more() -> None:
    shares = Shares(2, 3)
    assert [shares.take("aya", "calc") for _ in range(2)] == [None, None]
    assert "client" in str(shares.take("aya", "other"))
    assert shares.take("ben", "calc") is None
    assert "plugin 'calc'" in str(shares.take("ben", "calc"))
    assert shares.take("ben", "other") is None
    shares.give("aya", "calc")
    assert shares.take("aya", "other") is None
