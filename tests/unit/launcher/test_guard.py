"""The guard: what no control group bounds is killed at a look, and nobody is looked at without need."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.launcher.forked import sleeper

from sekisho.launcher.children import Child
from sekisho.launcher.guard import PERIOD_S, SCRATCH_ROUNDS, Guard


@pytest.fixture
def child() -> Iterator[Child]:
    """A process that waits to be killed."""
    gate, other = socket.socketpair()
    pid = sleeper()
    one = Child(
        id=1, kind="native", pid=pid, pidfd=os.pidfd_open(pid), gate=gate, status_fd=-1, inner_rlimits={}, guard_bytes=0,
        guard_pids=0, guard_cpu_percent=0, throttle=None,
    )  # fmt: skip
    with gate, other:
        yield one
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(one.pidfd)


def is_killed(child: Child) -> bool:
    """Whether it got the signal: then it ends, sooner or later, and is left for the fixture to reap."""
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return ended is not None and ended.si_status == signal.SIGKILL


def test_nobody_is_looked_at_who_is_held_otherwise(child: Child) -> None:
    guard = Guard({1: child}, lambda _child: None)
    due = [guard.due_at]
    child.guard_bytes = 1 << 40
    due.append(guard.due_at)
    guard.attend(10.0)
    due.append(guard.due_at)
    assert due == [None, 0.0, 10.0 + PERIOD_S]
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)


@pytest.mark.threat("T-FLOOD")
def test_more_memory_than_granted_ends_it(child: Child) -> None:
    child.guard_bytes = 1
    Guard({1: child}, lambda _child: None).attend(10.0)
    assert is_killed(child)
    assert child.exceeded


@pytest.mark.threat("T-FLOOD")
def test_a_private_folder_beyond_its_size_ends_it_at_the_look_in_which_folders_are_counted(
    child: Child, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"x" * 8192)
    child.scratch, child.scratch_bytes = str(tmp_path), 4096
    guard = Guard({1: child}, lambda _child: None)
    full = []
    for number in range(SCRATCH_ROUNDS):
        guard.attend(number * 2 * PERIOD_S)
        full.append(child.is_full)
    assert full == [False] * (SCRATCH_ROUNDS - 1) + [True]
    assert is_killed(child)


def test_between_two_looks_nothing_is_done(child: Child) -> None:
    child.guard_bytes = 1 << 40
    guard = Guard({1: child}, lambda _child: None)
    guard.attend(10.0)
    child.guard_bytes = 1
    guard.attend(10.0 + PERIOD_S / 2)
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)


@pytest.mark.threat("T-FLOOD")
def test_one_that_comes_to_its_limit_of_processes_is_told_of_once_and_lives(child: Child) -> None:
    told: list[int] = []
    guard = Guard({1: child}, lambda one: told.append(one.id))
    for number, most in enumerate((2, 1, 1, 2, 1)):  # it has one thread
        child.guard_pids = most
        guard.attend(number * 2 * PERIOD_S)
    assert told == [1, 1]
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)


@pytest.mark.threat("T-FLOOD")
def test_one_beyond_its_limit_of_processes_is_told_of_and_killed(child: Child) -> None:
    told: list[int] = []
    pid = child.pid
    child.pid, child.guard_pids = (
        os.getpid(),
        1,
    )  # more threads than one: ours, and that of the child below us
    Guard({1: child}, lambda one: told.append(one.id)).attend(10.0)
    child.pid = pid
    assert told == [1]
    assert is_killed(child)
