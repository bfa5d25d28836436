"""Mounts as Landlock rules: nothing more than the mounts, and no exception that the kernel would not see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.locks import SCRATCH, rules_of, shared_rules


def read(path: str) -> Mount:
    return Mount(kind="read", path=path, source=path)


def write(path: str) -> Mount:
    return Mount(kind="write", path=path, source=path)


def cover(path: str) -> Mount:
    return Mount(kind="cover", path=path)


def test_behind_a_root_of_its_own_only_what_is_writable_may_be_written() -> None:
    mounts = (read("/usr"), write("/data"), Mount(kind="tmpfs", path="/tmp"), Mount(kind="dev", path="/dev"))
    rules = dict(rules_of(mounts))
    assert rules == {"/": "read", "/data": "write", "/tmp": "write", "/dev": "use"}


def test_in_the_hosts_file_system_nothing_is_given_that_is_not_listed() -> None:
    rules = dict(shared_rules((read("/usr"), write("/data")), has_time_zone=False))
    assert rules["/usr"] == "read"
    assert rules["/data"] == "write"
    assert rules[SCRATCH] == "write"
    others = set(rules) - {"/usr", "/data", SCRATCH}
    assert all(path.startswith(("/dev/", "/proc/")) for path in others)
    assert "/" not in rules
    assert "/proc" not in rules
    assert "/etc/localtime" in dict(shared_rules((), has_time_zone=True))


@pytest.mark.parametrize(
    "mounts",
    [
        (read("/data"), cover("/data/private")),
        (write("/data"), read("/data/frozen")),
        (cover("/data/private/x"), write("/data")),
    ],
)
def test_an_exception_below_a_grant_is_refused_because_rules_only_add(mounts: tuple[Mount, ...]) -> None:
    with pytest.raises(Misconfigured, match="Landlock adds rights"):
        shared_rules(mounts, has_time_zone=False)


def test_a_wider_right_below_a_narrower_one_is_fine() -> None:
    assert (
        dict(shared_rules((read("/data"), write("/data/out")), has_time_zone=False))["/data/out"] == "write"
    )
    assert "/data" not in dict(shared_rules((cover("/data"),), has_time_zone=False))


PATHS = st.sampled_from(["/a", "/a/b", "/a/b/c", "/d", "/ab"])
MOUNTS = st.lists(
    st.one_of(PATHS.map(read), PATHS.map(write), PATHS.map(cover)), max_size=5, unique_by=lambda m: m.path
)


@given(MOUNTS)
def test_no_rule_gives_what_the_mounts_would_not(mounts: list[Mount]) -> None:
    """The deepest mount over a path is what the kernel shows; rules add up on the way down."""
    try:
        rules = dict(shared_rules(mounts, has_time_zone=False))
    except Misconfigured:
        return
    for path in ("/a", "/a/b", "/a/b/c", "/a/b/c/d", "/d", "/ab"):
        over = [one for one in mounts if path == one.path or path.startswith(one.path + "/")]
        shown = max(over, key=lambda one: len(one.path)).kind if over else "none"
        given = {right for at, right in rules.items() if path == at or path.startswith(at + "/")}
        assert "write" not in given or shown == "write"
        assert "read" not in given or shown in {"read", "write"}
