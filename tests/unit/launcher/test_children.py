"""What the launcher does to one child: reports that are whole, limits, ends."""

from __future__ import annotations

import os
import resource
import signal
import socket

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.children import (
    Child,
    end_first_process,
    end_inner,
    is_guarded,
    kill_tree,
    set_limits_as,
    status_member,
    throttle_for,
)


def sleeper() -> int:
    """A child that waits to be killed."""
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def child(kind: str, gate: socket.socket, *, pid: int = 0, pidfd: int = -1, status_fd: int = -1) -> Child:
    return Child(
        id=1, kind=kind, pid=pid, pidfd=pidfd, gate=gate, status_fd=status_fd, inner_rlimits={}, guard_bytes=0,
        guard_pids=0, guard_cpu_percent=0, throttle=None,
    )  # fmt: skip


def test_a_status_counts_only_when_its_line_is_complete() -> None:
    assert status_member(b'{ "child-pid": 12 }', "child-pid") is None
    assert status_member(b'{ "child-pid": 12 }\n{ "exit-c', "child-pid") == 12
    assert status_member(b'{ "child-pid": 12 }\n{ "exit-code": -9 }\n', "exit-code") == -9
    assert status_member(b"", "child-pid") is None


def test_a_child_is_watched_when_something_must_be_held_in_place_of_a_group() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        plain = child("native", ours)
        assert not is_guarded(plain)
        for name, value in {"guard_bytes": 1, "guard_pids": 1, "scratch": "/x"}.items():
            watched = child("native", ours)
            setattr(watched, name, value)
            assert is_guarded(watched)


def test_a_share_of_all_processors_needs_no_throttle() -> None:
    assert throttle_for(1, 0) is None
    assert throttle_for(1, 100 * (os.cpu_count() or 1)) is None
    assert throttle_for(os.getpid(), 1) is not None


def test_the_tree_is_killed_by_its_first_process_where_there_is_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outer, inner = sleeper(), sleeper()
        one = child("bubblewrap", ours, pid=outer, pidfd=os.pidfd_open(outer))
        one.inner_pidfd = os.pidfd_open(inner)
        end_inner(one)
        assert os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) == -signal.SIGKILL
        os.close(one.inner_pidfd)
        one.inner_pidfd = None
        kill_tree(one)
        assert os.waitstatus_to_exitcode(os.waitpid(outer, 0)[1]) == -signal.SIGKILL
        os.close(one.pidfd)


def test_a_first_process_whose_walls_do_not_stand_is_ended_and_reaped() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inner = sleeper()
        reading, writing = os.pipe()
        os.write(writing, b'{"child-pid": %d}\n' % inner)
        end_first_process(child("native", ours, status_fd=reading))
        with pytest.raises(ProcessLookupError):
            os.kill(inner, 0)
        os.close(writing)
        end_first_process(child("native", ours, status_fd=reading))  # nobody was left to us
        os.close(reading)


def test_limits_are_lowered_and_a_refusal_is_an_error() -> None:
    def body() -> object:
        set_limits_as(None, {"NOFILE": 64}, 0)
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_a_child(body) == "(64, 64)"
    with pytest.raises(ProcessLookupError):
        set_limits_as(None, {"NOFILE": 64}, 1 << 22)
