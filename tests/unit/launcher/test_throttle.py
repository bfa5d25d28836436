"""A tree is held to its share of the processor, and nobody else is touched."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from sekisho.launcher.kernel import read_text, tree
from sekisho.launcher.throttle import Throttle, cpu_s, signal_below

TRIES = 4
BURN = "print(1, flush=True)\nwhile True: pass\n"
REST = "print(1, flush=True)\ninput()\n"


def shell(program: str) -> subprocess.Popen[bytes]:
    """A root of ours with one child that runs `program`."""
    words = [sys.executable, "-ISc", program]
    wrapper = f"import subprocess; subprocess.run({words!r})"
    root = subprocess.Popen(
        [sys.executable, "-Ic", wrapper],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert root.stdout is not None
    assert root.stdout.readline() == b"1\n"
    return root


def end(root: subprocess.Popen[bytes]) -> None:
    for pid in [*tree(root.pid)]:  # before the first is killed: its children would be somebody else's then
        os.kill(pid, 9)
    root.communicate()


@pytest.fixture
def burning() -> Iterator[subprocess.Popen[bytes]]:
    root = shell(BURN)
    yield root
    end(root)


@pytest.fixture
def resting() -> Iterator[subprocess.Popen[bytes]]:
    root = shell(REST)
    yield root
    end(root)


def stopped(throttle: Throttle) -> bool:
    return throttle.is_stopped


def pause(seconds: float) -> None:
    select.select([], [], [], seconds)


def state_of(pid: int) -> str:
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]


def comes_to(pid: int, state: str) -> bool:
    """Whether a process comes into a state; a signal takes its time to a process on another processor."""
    for _ in range(500):
        if state_of(pid) in state:
            return True
        pause(0.01)
    return False


def test_a_burning_tree_gets_its_share_and_little_more(burning: subprocess.Popen[bytes]) -> None:
    """Of a few: a busy machine may let us look too late at the end, and the debt is paid afterwards."""
    throttle = Throttle(burning.pid, 20, time.monotonic())
    excess: list[float] = []
    while len(excess) < TRIES and min(excess, default=2) > 1:
        throttle.turn(tree(burning.pid), time.monotonic())
        started, before = time.monotonic(), cpu_s(tree(burning.pid))
        while time.monotonic() - started < 2.0:
            throttle.turn(tree(burning.pid), time.monotonic())
            pause(0.02)
        lasted = time.monotonic() - started
        used = cpu_s(tree(burning.pid)) - before
        assert used > 0  # it was slowed down, not ended
        excess.append(used / (0.2 * lasted * 1.15 + 0.05))  # what it used while it was not looked at yet
    assert min(excess) <= 1


def test_a_tree_below_its_share_is_never_stopped(resting: subprocess.Popen[bytes]) -> None:
    throttle = Throttle(resting.pid, 50, time.monotonic() - 60)  # its start took its time
    for turn in range(20):
        throttle.turn(tree(resting.pid), time.monotonic() + turn * 0.05)
        assert not stopped(throttle)
    assert {state_of(pid) for pid in tree(resting.pid)} <= {"S", "R", "D"}


def test_a_stopped_tree_goes_on_when_its_debt_is_paid(burning: subprocess.Popen[bytes]) -> None:
    now = time.monotonic()
    throttle = Throttle(burning.pid, 1, now)
    while cpu_s(tree(burning.pid)) < 0.1:
        pause(0.02)
    throttle.turn(tree(burning.pid), now)
    assert stopped(throttle)
    (child,) = set(tree(burning.pid)) - {burning.pid}
    assert comes_to(child, "T")
    assert state_of(burning.pid) != "T"  # the root is ours, and reports
    throttle.turn(tree(burning.pid), now + 3600)
    assert not stopped(throttle)
    assert comes_to(child, "RSD")


def test_only_who_is_below_is_signalled(
    burning: subprocess.Popen[bytes], resting: subprocess.Popen[bytes]
) -> None:
    (mine,) = set(tree(burning.pid)) - {burning.pid}
    (other,) = set(tree(resting.pid)) - {resting.pid}
    signal_below(burning.pid, [mine, other, 1 << 22], signal.SIGSTOP)
    assert comes_to(mine, "T")
    assert state_of(other) != "T"


def test_a_number_that_passed_to_a_stranger_is_not_signalled(
    burning: subprocess.Popen[bytes], resting: subprocess.Popen[bytes]
) -> None:
    while cpu_s(tree(burning.pid)) < 0.1:
        pause(0.02)
    throttle = Throttle(burning.pid, 1, time.monotonic())
    throttle.turn([*tree(burning.pid), *tree(resting.pid)], time.monotonic())
    assert stopped(throttle)
    assert "T" not in {state_of(pid) for pid in tree(resting.pid)}
