"""The lock between processes: held by one, taken over from the dead, never waited for without end."""

from __future__ import annotations

import mmap
import os
import signal

import pytest
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.errors import Unavailable
from sekisho.gateway import robust_mutex
from sekisho.gateway.robust_mutex import RobustMutex


@pytest.fixture
def memory() -> mmap.mmap:
    return mmap.mmap(-1, 4096)


@pytest.fixture
def mutex(memory: mmap.mmap) -> RobustMutex:
    made = RobustMutex(memory, 0)
    made.initialise()
    return made


def test_many_processes_count_together_and_lose_nothing(
    memory: mmap.mmap, mutex: RobustMutex, others: OtherWorkers
) -> None:
    numbers = memoryview(memory).cast("q")

    def count() -> None:
        for _ in range(5_000):
            mutex.acquire()
            numbers[100] += 1
            mutex.release()

    for child in [others.fork(count) for _ in range(4)]:
        others.wait(child)
    assert numbers[100] == 20_000


def test_a_killed_holder_gives_the_lock_up(mutex: RobustMutex, others: OtherWorkers) -> None:
    def hold_and_die() -> None:
        mutex.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        others.wait(others.fork(hold_and_die))
        mutex.acquire()
        mutex.release()


def test_a_stopped_holder_is_not_waited_for_without_end(
    mutex: RobustMutex, others: OtherWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robust_mutex, "MAX_WAIT_S", 0.01)

    def hold_and_stop() -> None:
        mutex.acquire()
        os.kill(os.getpid(), signal.SIGSTOP)
        mutex.release()

    child = others.fork(hold_and_stop)
    os.waitpid(child, os.WUNTRACED)
    with pytest.raises(Unavailable) as caught:
        mutex.acquire()
    assert caught.value.code == "busy"
    os.kill(child, signal.SIGCONT)
    others.wait(child)
    mutex.acquire()
    mutex.release()
