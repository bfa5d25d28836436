"""The table of watched calls holds on every machine, and places are what the plan's mounts make them."""

from __future__ import annotations

import pytest

from sekisho.sandbox.calls.seccomp import ALLOWED, MACHINES
from sekisho.sandbox.calls.watched import (
    ASKS,
    CHANGES,
    OPENS,
    RUNS,
    TOLD,
    places_of,
    places_of_rules,
    watched_calls,
)
from sekisho.sandbox.mount import Mount


def test_every_watched_call_is_one_that_the_filter_allows() -> None:
    checked = {"chmod", "creat", "fchmodat", "fchmodat2", "open", "openat"}
    assert {*ASKS, *CHANGES, *OPENS, *RUNS} <= ALLOWED | checked


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_more_is_told_with_each_word(machine: str) -> None:
    numbers = MACHINES[machine].numbers
    asked, everything, changes, nothing = (set(watched_calls(numbers, told, shared=False)) for told in TOLD)
    assert asked > everything > changes > nothing == set()
    assert everything - changes == {numbers["execve"], numbers["execveat"]}
    assert asked - everything == {numbers[name] for name in ASKS if name in numbers}


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_where_asking_is_not_refused_it_is_not_told(machine: str) -> None:
    numbers = MACHINES[machine].numbers
    assert watched_calls(numbers, "asked", shared=True) == watched_calls(numbers, "all", shared=True)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_argument_is_one_of_six(machine: str) -> None:
    for call in watched_calls(MACHINES[machine].numbers, "asked", shared=False).values():
        places = [place for _, folder, path in call.paths for place in (folder, path)]
        assert all(-1 <= place < 6 for place in (*places, call.flags, call.mode))
        assert all(path >= 0 for _, _, path in call.paths)


def test_each_mount_is_a_place_and_the_last_one_wins() -> None:
    mounts = (
        Mount(kind="proc", path="/proc"),
        Mount(kind="read", path="/proc/sys", source="/proc/sys"),
        Mount(kind="dev", path="/dev"),
        Mount(kind="tmpfs", path="/tmp"),
        Mount(kind="file", path="/etc/passwd"),
        Mount(kind="link", path="/bin", source="usr/bin"),
        Mount(kind="read", path="/data", source="/data"),
        Mount(kind="write", path="/data", source="/data"),
        Mount(kind="cover", path="/data/secret"),
    )
    assert dict(places_of(mounts)) == {
        "/": "root", "/proc": "kernel", "/proc/sys": "read", "/dev": "devices", "/tmp": "private",
        "/etc/passwd": "read", "/data": "write", "/data/secret": "blocked",
    }  # fmt: skip


def test_rules_are_places_where_everything_else_is_there_and_refused() -> None:
    rules = (("/usr", "read"), ("/data", "write"), ("/dev/null", "use"))
    assert dict(
        places_of_rules(rules, [Mount(kind="cover", path="/data"), Mount(kind="read", path="/x")])
    ) == {
        "/usr": "read",
        "/data": "blocked",
        "/dev/null": "write",
    }
