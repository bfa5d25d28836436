"""Control groups of both versions, on folders that look like the kernel's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.running.group_settings import disks
from sekisho.sandbox.running.limits import Group, find_parents, group_of, make_group, sweep

LIMITS = Limits(
    memory_bytes=64 << 20,
    cpu_percent=50,
    pids=10,
    memory_by="cgroup",
    pids_by="cgroup",
    cpu_by="cgroup",
    rlimits=(),
    inner_rlimits=(),
)
NOBODY = 2**22 + 1  # above every pid the kernel gives


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    for name in ("memory/own", "pids", "cpu"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "membership").write_text("4:memory:/own\n3:pids:/gone\n2:cpu,cpuacct:/\n0::/\n")
    return tmp_path


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "cgroup.subtree_control").write_text("cpu io memory pids\n")
    (tmp_path / "membership").write_text("0::/own\n")
    return tmp_path


def test_version_1_uses_our_own_group_where_it_is_visible(v1: Path) -> None:
    version, parents = find_parents(v1, v1 / "membership")
    assert version == "v1"
    assert dict(parents) == {"memory": f"{v1}/memory/own", "pids": f"{v1}/pids", "cpu": f"{v1}/cpu"}


def test_version_2_needs_a_folder_that_gives_controllers(v2: Path) -> None:
    (v2 / "own" / "cgroup.subtree_control").write_text("io memory pids cpu")
    version, parents = find_parents(v2, v2 / "membership")
    assert version == "v2"
    assert {path for _, path in parents} <= {f"{v2}/own", str(v2)}


def test_without_control_groups_nothing_is_promised(tmp_path: Path) -> None:
    assert find_parents(tmp_path, tmp_path / "none") == ("none", ())
    (tmp_path / "membership").write_text("4:memory:/\n")
    assert find_parents(tmp_path, tmp_path / "membership") == ("none", ())


def test_version_1_limits_memory_processes_and_processor(v1: Path) -> None:
    parents = (("memory", f"{v1}/memory"), ("pids", f"{v1}/pids"), ("cpu", f"{v1}/cpu"))
    folder = f"sekisho-{os.getpid()}-1-notes"
    group = make_group("v1", parents, "notes", 1, LIMITS)
    assert (v1 / "memory" / folder / "memory.limit_in_bytes").read_text() == str(64 << 20)
    assert (v1 / "pids" / folder / "pids.max").read_text() == "12"
    assert (v1 / "cpu" / folder / "cpu.cfs_quota_us").read_text() == "50000"
    assert group.join_files == tuple(f"{v1}/{name}/{folder}/tasks" for name in ("memory", "pids", "cpu"))


def test_version_2_limits_in_one_folder_and_kills_the_whole_plugin_when_memory_runs_out(v2: Path) -> None:
    parents = tuple((name, str(v2)) for name in ("memory", "pids", "cpu"))
    group = make_group("v2", parents, "notes", 1, LIMITS)
    folder = v2 / f"sekisho-{os.getpid()}-1-notes"
    assert (folder / "memory.max").read_text() == str(64 << 20)
    assert (folder / "memory.oom.group").read_text() == "1"
    assert (folder / "pids.max").read_text() == "12"
    assert (folder / "cpu.max").read_text() == "50000 100000"
    assert group.join_files == (f"{folder}/cgroup.procs",)


def test_version_1_limits_reading_and_writing_of_every_disk(v1: Path) -> None:
    (v1 / "blkio").mkdir()
    make_group("v1", (("blkio", f"{v1}/blkio"),), "notes", 1, replace(LIMITS, io_bytes_per_s=1 << 20))
    folder = v1 / "blkio" / f"sekisho-{os.getpid()}-1-notes"
    for way in ("read", "write"):  # the kernel keeps a line for each disk; a file keeps the last
        text = (folder / f"blkio.throttle.{way}_bps_device").read_text()
        assert text == f"{disks()[-1]} {1 << 20}"


def test_version_2_limits_reading_and_writing_of_every_disk(v2: Path) -> None:
    make_group("v2", (("io", str(v2)),), "notes", 1, replace(LIMITS, io_bytes_per_s=1 << 20))
    text = (v2 / f"sekisho-{os.getpid()}-1-notes" / "io.max").read_text()
    assert text == f"{disks()[-1]} rbps={1 << 20} wbps={1 << 20}"


def test_without_a_limit_for_disks_their_controller_is_left_alone(v1: Path) -> None:
    (v1 / "blkio").mkdir()
    group = make_group("v1", (("blkio", f"{v1}/blkio"), ("pids", f"{v1}/pids")), "notes", 1, LIMITS)
    assert [name for name, _ in group.folders] == ["pids"]


def test_a_limit_that_cannot_be_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="a limit of plugin 'notes'"):
        make_group("v1", (("memory", f"{tmp_path}/none"),), "notes", 1, LIMITS)


def test_usage_and_kills_are_read_from_version_1(tmp_path: Path) -> None:
    (tmp_path / "memory.usage_in_bytes").write_text("4096\n")
    (tmp_path / "pids.current").write_text("3\n")
    (tmp_path / "cpuacct.usage").write_text("2500000000\n")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    group = Group(version="v1", folders=tuple((name, tmp_path) for name in ("memory", "pids", "cpuacct")))
    usage = group.usage()
    assert (usage.memory_bytes, usage.pids, usage.cpu_s) == (4096, 3, 2.5)
    assert group.oom_kills() == 2


def test_usage_and_kills_are_read_from_version_2(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("8192\n")
    (tmp_path / "pids.current").write_text("1\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    group = Group(version="v2", folders=tuple((name, tmp_path) for name in ("memory", "pids", "cpu")))
    usage = group.usage()
    assert (usage.memory_bytes, usage.pids, usage.cpu_s) == (8192, 1, 1.5)
    assert group.oom_kills() == 1


def test_a_group_without_a_controller_measures_nothing_there(tmp_path: Path) -> None:
    group = Group(version="v1", folders=(("cpu", tmp_path / "gone"),))
    usage = group.usage()
    assert (usage.memory_bytes, usage.pids, usage.cpu_s) == (None, None, None)
    assert group.oom_kills() == 0
    assert group.members() == frozenset()


def test_only_empty_groups_of_dead_owners_are_swept(tmp_path: Path) -> None:
    dead, alive, other = (tmp_path / n for n in (f"sekisho-{NOBODY}-1-a", f"sekisho-{os.getpid()}-1-a", "x"))
    full = tmp_path / f"sekisho-{NOBODY}-2-b"
    for folder in (dead, alive, other, full):
        folder.mkdir()
    (full / "busy").write_text("")
    sweep((("memory", str(tmp_path)), ("pids", str(tmp_path))))
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()
    assert full.exists()


def test_a_group_that_is_not_empty_yet_can_be_removed_later(tmp_path: Path) -> None:
    (tmp_path / "busy").write_text("")
    group = Group(version="v1", folders=(("memory", tmp_path),))
    assert not group.remove()
    (tmp_path / "busy").unlink()
    assert group.remove()


def someone_elses(root: Path, pid: int, lines: str) -> Path:
    (root / "proc" / str(pid)).mkdir(parents=True)
    (root / "proc" / str(pid) / "cgroup").write_text(lines)
    return root / "proc"


def test_groups_that_an_engine_made_are_read_and_left_to_it(v1: Path) -> None:
    for name in ("memory", "pids", "cpu"):
        (v1 / name / "box").mkdir()
    (v1 / "pids" / "box" / "pids.max").write_text("10\n")
    (v1 / "pids" / "box" / "pids.current").write_text("3\n")
    (v1 / "memory" / "box" / "memory.usage_in_bytes").write_text("4096\n")
    proc = someone_elses(v1, 7, "4:memory:/box\n3:pids:/box\n2:cpu,cpuacct:/box\n0::/\n")
    group = group_of(7, v1, proc)
    assert group is not None
    assert (group.usage().pids, group.usage().memory_bytes) == (3, 4096)
    assert group.remove()
    assert (v1 / "pids" / "box").is_dir()


def test_the_group_that_has_the_limits_counts_not_the_one_below_it(v2: Path) -> None:
    inner = v2 / "box" / "container"
    inner.mkdir(parents=True)
    (inner / "pids.max").write_text("max\n")
    (v2 / "box" / "pids.max").write_text("10\n")
    (v2 / "box" / "pids.events").write_text("max 2\n")
    group = group_of(7, v2, someone_elses(v2, 7, "0::/box/container\n"))
    assert group is not None
    assert dict(group.folders)["pids"] == v2 / "box"


def test_where_nothing_is_limited_nobody_counts(v1: Path) -> None:
    assert group_of(7, v1, v1 / "proc") is None
    (v1 / "pids" / "box").mkdir()
    (v1 / "pids" / "box" / "pids.max").write_text("max\n")
    assert group_of(7, v1, someone_elses(v1, 7, "3:pids:/box\n")) is None


def test_a_delegated_group_gives_its_controllers_once_its_processes_moved_below_it(v2: Path) -> None:
    own = v2 / "own"
    try:
        os.setxattr(own, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no such attribute can be set here: {error}")
    (own / "cgroup.procs").write_text("7\n")
    (own / "cgroup.subtree_control").write_text("io memory pids cpu")
    _, parents = find_parents(v2, v2 / "membership")
    assert {path for _, path in parents} == {str(own)}
    assert (own / "house" / "cgroup.procs").read_text() == "7"


def test_nobody_is_moved_in_a_group_that_was_not_delegated(v2: Path) -> None:
    (v2 / "own" / "cgroup.procs").write_text("7\n")
    find_parents(v2, v2 / "membership")
    assert not (v2 / "own" / "house").exists()
