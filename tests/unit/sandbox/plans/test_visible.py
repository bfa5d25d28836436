"""Grants become mounts in the right order, and nothing else is visible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants
from sekisho.policy.paths import verdict
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.spec import Closure, SandboxSpec
from sekisho.sandbox.plans.visible import base_mounts, is_folder_cover, listed_mounts, private_etc

FOUND = Closure(argv=("/opt/venv/bin/python", "server.py"), read_only=("/usr", "/opt/venv"), links=())


def spec_of(files: FileGrant | None = None) -> SandboxSpec:
    return SandboxSpec(name="notes", argv=("python",), grants=Grants(files=files or FileGrant()))


def draw(files: FileGrant | None = None, *, closure: Closure = FOUND) -> tuple[Mount, ...]:
    return listed_mounts(spec_of(files), closure)


def visible(mounts: Iterable[Mount], path: str) -> str:
    """What the last mount over a path makes of it: the kernel's own rule."""
    access = "none"
    for mount in mounts:
        if path == mount.path or path.startswith(mount.path + "/"):
            access = {"read": "read", "write": "write"}.get(mount.kind, "none")
    return access


def test_the_longest_path_is_mounted_last() -> None:
    drawn = draw(FileGrant(read_only_paths=("/data", "/data/a/b"), writable_paths=("/data/a",)))
    assert [visible(drawn, path) for path in ("/data/x", "/data/a/x", "/data/a/b/x")] == [
        "read",
        "write",
        "read",
    ]


def test_a_path_that_is_listed_twice_gets_the_stricter_grant() -> None:
    drawn = draw(FileGrant(read_only_paths=("/data",), writable_paths=("/data",)))
    assert visible(drawn, "/data/x") == "read"


def test_a_writable_grant_beats_the_runtime_of_the_same_path() -> None:
    assert visible(draw(FileGrant(writable_paths=("/opt/venv",))), "/opt/venv/x") == "write"


def test_a_grant_below_a_blocked_path_stays_a_grant() -> None:
    closure = replace(FOUND, blocked=(("/data", True),))
    drawn = draw(FileGrant(read_only_paths=("/data/public",), blocked_paths=("/data",)), closure=closure)
    assert visible(drawn, "/data/public/x") == "read"
    assert visible(drawn, "/data/private") == "none"


def test_a_blocked_path_outside_every_grant_needs_no_cover() -> None:
    drawn = draw(
        FileGrant(blocked_paths=("/home/me",)), closure=replace(FOUND, blocked=(("/home/me", True),))
    )
    assert all(mount.path != "/home/me" for mount in drawn)


def test_a_blocked_path_that_cannot_be_covered_is_refused() -> None:
    closure = replace(FOUND, missing_blocked=("/data/later",))
    with pytest.raises(Misconfigured, match="/data/later"):
        draw(FileGrant(read_only_paths=("/data",)), closure=closure)
    draw(FileGrant(read_only_paths=("/other",)), closure=closure)


def test_blocking_the_system_itself_is_refused() -> None:
    with pytest.raises(Misconfigured, match="the system itself"):
        draw(closure=replace(FOUND, blocked=(("/usr", True),)))


@pytest.mark.parametrize("path", ["/proc", "/proc/1", "/sys/fs/cgroup", "/dev", "//proc/self"])
def test_the_kernels_own_folders_cannot_be_granted(path: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be granted"):
        draw(FileGrant(read_only_paths=(path,)))
    with pytest.raises(Misconfigured, match="cannot be granted"):
        draw(FileGrant(writable_paths=(path,)))


def test_the_empty_cover_of_a_folder_is_told_from_that_of_a_file() -> None:
    closure = replace(FOUND, blocked=(("/data/secret", True), ("/data/key.pem", False)))
    covers = [
        one for one in draw(FileGrant(read_only_paths=("/data",)), closure=closure) if one.kind == "cover"
    ]
    assert {one.path: is_folder_cover(one) for one in covers} == {
        "/data/secret": True,
        "/data/key.pem": False,
    }


def test_every_plugin_sees_private_files_and_its_own_scratch_space() -> None:
    mounts = base_mounts(spec_of(), private_etc(FOUND), FOUND)
    assert {one.path for one in mounts if one.kind == "tmpfs"} == {"/tmp", "/dev/shm", "/home/plugin"}
    assert {one.path for one in mounts if one.kind == "file"} == set(private_etc(FOUND))


paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(
    lambda parts: "/d/" + "/".join(parts)
)
listed = st.lists(paths, max_size=4).map(tuple)


@given(read=listed, write=listed, blocked=listed, asked=paths)
def test_the_mounts_say_the_same_as_the_policy(
    read: tuple[str, ...], write: tuple[str, ...], blocked: tuple[str, ...], asked: str
) -> None:
    files = FileGrant(read_only_paths=read, writable_paths=write, blocked_paths=blocked)
    closure = replace(FOUND, blocked=tuple((path, True) for path in dict.fromkeys(blocked)))
    assert visible(draw(files, closure=closure), asked) == verdict(files, asked)


@given(read=listed, write=listed, blocked=listed, asked=paths)
def test_one_more_block_never_shows_more(
    read: tuple[str, ...], write: tuple[str, ...], blocked: tuple[str, ...], asked: str
) -> None:
    files = FileGrant(read_only_paths=read, writable_paths=write)
    more = replace(FOUND, blocked=tuple((path, True) for path in dict.fromkeys(blocked)))
    rank = {"none": 0, "read": 1, "write": 2}
    assert rank[visible(draw(files, closure=more), asked)] <= rank[visible(draw(files), asked)]
