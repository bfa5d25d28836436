"""What the walls refused, as far as the kernel tells: names instead of numbers, counts instead of guesses."""

from __future__ import annotations

import platform
import signal
from pathlib import Path

from sekisho.sandbox.calls.seccomp import MACHINES
from sekisho.sandbox.running.limits import Group
from sekisho.sandbox.running.violations import (
    MAX_KEPT,
    Denied,
    DeniedPaths,
    Violation,
    of_calls,
    of_exit,
    of_group,
)


def test_a_refused_call_has_a_name_and_a_count() -> None:
    numbers = MACHINES[platform.machine()].numbers
    found = of_calls({numbers["ptrace"]: 3, 999_999: 1})
    assert found == (
        Violation(kind="seccomp", what="ptrace", times=3),
        Violation(kind="seccomp", what="999999", times=1),
    )


def test_a_death_by_sigsys_comes_from_the_filter_and_no_other_does() -> None:
    assert of_exit(signal.SIGSYS)[0].kind == "seccomp"
    assert of_exit(signal.SIGKILL) == of_exit(None) == ()
    assert of_exit(signal.SIGKILL, is_full=True) == (Violation(kind="disk", what="scratch space"),)


def test_kills_for_memory_and_refused_forks_are_read_from_the_group(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("oom 2\noom_kill 2\n")
    (tmp_path / "pids.events").write_text("max 7\n")
    group = Group(version="v2", folders=(("memory", tmp_path), ("pids", tmp_path)))
    assert of_group(group) == (
        Violation(kind="oom", what="memory", times=2),
        Violation(kind="pids", what="fork", times=7),
    )


def test_a_group_that_is_gone_or_says_nothing_counts_as_nothing(tmp_path: Path) -> None:
    assert of_group(None) == ()
    assert of_group(Group(version="v2", folders=(("memory", tmp_path), ("pids", tmp_path)))) == ()
    (tmp_path / "pids.events").write_text("garbage")
    assert of_group(Group(version="v2", folders=(("pids", tmp_path),))) == ()


def test_what_a_watcher_told_is_taken_once() -> None:
    paths = DeniedPaths()
    paths.hear({"found": ["read", "/key", "unlisted", 3], "left_out": 2})
    paths.hear({"found": None, "left_out": 7})
    assert paths.take() == (
        Denied(act="read", path="/key", reason="unlisted", left_out=4),
        Denied(act="", path="", reason="", left_out=6),
    )
    assert paths.take() == ()


def test_what_nobody_takes_is_counted_and_does_not_grow() -> None:
    paths = DeniedPaths()
    for number in range(MAX_KEPT + 10):
        paths.hear({"found": ["read", f"/{number}", "unlisted", 2], "left_out": 1})
    taken = paths.take()
    assert len(taken) == MAX_KEPT + 1
    assert sum(1 + one.left_out for one in taken) == 3 * (MAX_KEPT + 10)
