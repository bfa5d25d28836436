"""Children whose walls are raised: each for itself, none waited for."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from tests.unit.launcher.forked import sleeper

from sekisho.launcher import births
from sekisho.launcher.births import Births
from sekisho.launcher.children import Child
from sekisho.launcher.watcher import Watcher

WAIT_MS = 20_000


class Nursery:
    """Births with everything around them, played: `raising` is a child that does nothing but wait."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.failed: list[Child] = []
        self.births = Births(self.poll, self.failed.append)
        self.children: list[Child] = []
        self.ends: dict[int, int] = {}
        self.lines: dict[int, socket.socket] = {}
        self.gates: list[socket.socket] = []

    def raising(self, kind: str = "bubblewrap", *, is_watched: bool = False) -> Child:
        ours, theirs = socket.socketpair()
        self.gates += [ours, theirs]
        reading, writing = os.pipe()
        status, status_writing = os.pipe()
        os.close(status_writing)
        pid = sleeper()
        number = len(self.children)
        watcher = None
        if is_watched:
            line, self.lines[number] = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            watcher = Watcher(sleeper(), line)
        one = Child(
            id=number, kind=kind, pid=pid, pidfd=os.pidfd_open(pid), gate=ours, status_fd=status, inner_rlimits={},
            guard_bytes=0, guard_pids=0, guard_cpu_percent=0, throttle=None, failure=reading, watcher=watcher,
        )  # fmt: skip
        self.children.append(one)
        self.ends[number] = writing
        self.births.begin(one)
        return one

    def turn(self, *, wait: bool = True) -> list[int]:
        ready = {fd for fd, _ in self.poll.poll(WAIT_MS if wait else 0)}
        return [child.id for child in self.births.attend(ready, time.monotonic())]

    def says(self, child: Child, text: str = "") -> None:
        """Its last word before it is what it will be; none is good news."""
        os.write(self.ends[child.id], text.encode())
        os.close(self.ends.pop(child.id))

    def close(self) -> None:
        for child in self.children:
            for pid in (child.pid, *(() if child.watcher is None else (child.watcher.pid,))):
                if child not in self.failed or pid != child.pid:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            if child.watcher is not None:
                child.watcher.line.close()
                os.close(child.watcher.pidfd)
            for fd in (child.pidfd, child.status_fd, *((child.failure,) if child.failure >= 0 else ())):
                os.close(fd)
        for end in self.ends.values():
            os.close(end)
        for one in (*self.gates, *self.lines.values()):
            one.close()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    one = Nursery()
    yield one
    one.close()


def test_a_child_that_complains_of_nothing_is_handed_on(nursery: Nursery) -> None:
    child = nursery.raising()
    assert nursery.births
    nursery.says(child)
    assert nursery.turn() == [child.id]
    assert not nursery.births
    assert nursery.births.due_at is None


@pytest.mark.threat("T-HANG")
def test_one_that_is_slow_delays_no_other(nursery: Nursery) -> None:
    slow, quick = nursery.raising(), nursery.raising()
    nursery.says(quick)
    assert nursery.turn() == [quick.id]
    failing = nursery.raising()
    nursery.says(failing, "no mount")
    while not nursery.failed:
        assert nursery.turn() == []
    assert nursery.failed == [failing]
    nursery.says(slow)
    assert nursery.turn() == [slow.id]


@pytest.mark.threat("T-HANG")
def test_one_that_takes_too_long_is_killed_and_reaped_before_it_is_told(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = nursery.raising()
    monkeypatch.setattr(births, "SET_UP_S", 0.0)
    child = nursery.raising()
    assert nursery.births.due_at is not None
    assert nursery.turn(wait=False) == []
    while not nursery.failed:
        nursery.turn()
    assert [one.complaint for one in nursery.failed] == ["the child did not start in time"]
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    assert not patient.complaint


def test_what_a_child_complains_of_is_told_when_it_is_reaped(nursery: Nursery) -> None:
    child = nursery.raising()
    nursery.says(child, "no mount")
    while not nursery.failed:
        assert nursery.turn() == []
    assert child.complaint == "no mount"
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)


@pytest.mark.parametrize("word", ["listens", "silent"])
def test_a_watched_one_is_handed_on_when_its_watcher_has_spoken_too(nursery: Nursery, word: str) -> None:
    child = nursery.raising(is_watched=True)
    nursery.says(child)
    assert nursery.turn() == []
    nursery.lines[child.id].send(word.encode())
    assert nursery.turn() == [child.id]
    assert child.watcher is not None
    assert child.watcher.listens == (word == "listens")


@pytest.mark.parametrize("has_spoken", [False, True])
def test_a_watcher_that_goes_takes_its_child_with_it(nursery: Nursery, has_spoken: bool) -> None:
    child = nursery.raising(is_watched=True)
    if has_spoken:
        nursery.lines[child.id].send(b"listens")
        assert nursery.turn() == []
    nursery.lines[child.id].close()
    while not nursery.failed:
        assert nursery.turn() == []
    assert child.complaint == "its watcher is gone"


def test_one_that_never_had_a_listener_may_go(nursery: Nursery) -> None:
    child = nursery.raising(is_watched=True)
    nursery.lines[child.id].send(b"silent")
    nursery.lines[child.id].close()
    assert nursery.turn() == []
    nursery.says(child)
    assert nursery.turn() == [child.id]


def test_one_that_fails_while_its_watcher_goes_fails_alone(nursery: Nursery) -> None:
    failing, other = nursery.raising(is_watched=True), nursery.raising()
    nursery.lines[failing.id].send(b"silent")
    nursery.lines[failing.id].close()
    nursery.says(failing, "no mount")
    nursery.says(other)
    assert nursery.turn() == [other.id]
    while not nursery.failed:
        nursery.turn()
    assert (nursery.failed, failing.complaint) == ([failing], "no mount")


def test_what_is_refused_before_the_walls_stand_is_kept(nursery: Nursery) -> None:
    child = nursery.raising(is_watched=True)
    nursery.lines[child.id].send(b"listens")
    nursery.lines[child.id].send(b'{"event": "alarm", "call": 1, "times": 1}')
    assert nursery.turn() == []
    nursery.says(child)
    assert nursery.turn() == [child.id]
    assert child.told == [{"event": "alarm", "call": 1, "times": 1}]


def test_one_that_nobody_wants_any_more_is_killed_at_once(nursery: Nursery) -> None:
    child = nursery.raising()
    nursery.births.kill(child.id)
    nursery.births.kill(12345)
    assert child.is_unwanted
    assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is not None
    nursery.says(child)  # as the kernel closes it
    assert nursery.turn() == [child.id]
