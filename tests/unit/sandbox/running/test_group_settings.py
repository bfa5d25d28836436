"""What is written into a group's files, in order, in the words of each version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.running.group_settings import disk_files, disks, settings

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


def told(
    version: Literal["v1", "v2"], root: Path, *controllers: str, limits: Limits = LIMITS
) -> dict[str, str]:
    """What the files of a group in one folder would hold."""
    return {path.name: text for path, text in settings(version, [(one, root) for one in controllers], limits)}


def test_both_versions_limit_memory_processes_and_processor(tmp_path: Path) -> None:
    assert told("v1", tmp_path, "memory", "pids", "cpu") == {
        "pids.max": "12",
        "memory.limit_in_bytes": str(64 << 20),
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
    }
    assert told("v2", tmp_path, "memory", "pids", "cpu") == {
        "pids.max": "12",
        "memory.max": str(64 << 20),
        "memory.oom.group": "1",
        "cpu.max": "50000 100000",
    }


def test_memory_cannot_be_had_as_swap_where_the_kernel_counts_it(tmp_path: Path) -> None:
    for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
        (tmp_path / name).write_text("max")
    assert told("v2", tmp_path, "memory")["memory.swap.max"] == "0"
    assert told("v1", tmp_path, "memory")["memory.memsw.limit_in_bytes"] == str(64 << 20)


@pytest.mark.parametrize(("version", "name"), [("v1", "cpu.cfs_burst_us"), ("v2", "cpu.max.burst")])
def test_a_start_may_use_what_one_period_left_over_where_the_kernel_knows_how(
    version: Literal["v1", "v2"], name: str, tmp_path: Path
) -> None:
    assert name not in told(version, tmp_path, "cpu")
    (tmp_path / name).write_text("0")
    assert list(told(version, tmp_path, "cpu").items())[-1] == (
        name,
        "50000",
    )  # last: writing it fills the account


@pytest.mark.parametrize(("version", "controller"), [("v1", "blkio"), ("v2", "io")])
def test_every_disk_is_limited_in_both_directions(
    version: Literal["v1", "v2"], controller: str, tmp_path: Path
) -> None:
    limits = replace(LIMITS, io_bytes_per_s=1 << 20)
    lines = list(settings(version, [(controller, tmp_path)], limits))
    assert len(lines) == len(disks()) * (2 if version == "v1" else 1)
    assert all(str(1 << 20) in text for _, text in lines)


def test_a_disk_has_a_number_and_a_file() -> None:
    assert len(disks()) == len(disk_files())
    assert all(str(one).startswith("/dev/") for one in disk_files())
