"""The limits of one plugin in the words of control groups, version 1 and 2.

Guarantees that every limit has its line for each controller that is there, and that all disks are limited or none.
Writes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.plans.spec import CgroupVersion

__all__ = ["disk_files", "disks", "settings"]

PERIOD_US: Final = 100_000  # the kernel's default accounting period


def settings(
    version: CgroupVersion, folders: Iterable[tuple[str, Path]], limits: Limits
) -> Iterator[tuple[Path, str]]:
    """What is to be written where, in order; `folders` are a group's, by controller."""
    by_name = dict(folders)
    if "pids" in by_name:
        yield by_name["pids"] / "pids.max", str(limits.pids + limits.own_processes)
    yield from (_settings_v2 if version == "v2" else _settings_v1)(by_name, limits)


def _settings_v2(by_name: Mapping[str, Path], limits: Limits) -> Iterator[tuple[Path, str]]:
    if "memory" in by_name:
        folder = by_name["memory"]
        yield folder / "memory.max", str(limits.memory_bytes)
        if (folder / "memory.swap.max").exists():
            yield folder / "memory.swap.max", "0"
        # half a plugin answers nothing; the server restarts a whole one
        yield folder / "memory.oom.group", "1"
    if "cpu" in by_name:
        folder = by_name["cpu"]
        yield folder / "cpu.max", f"{_quota_us(limits)} {PERIOD_US}"
        yield from _burst(folder / "cpu.max.burst", limits)
    if "io" in by_name:
        rate = limits.io_bytes_per_s
        yield from ((by_name["io"] / "io.max", f"{disk} rbps={rate} wbps={rate}") for disk in disks())


def _settings_v1(by_name: Mapping[str, Path], limits: Limits) -> Iterator[tuple[Path, str]]:
    if "memory" in by_name:
        folder = by_name["memory"]
        yield folder / "memory.limit_in_bytes", str(limits.memory_bytes)
        if (folder / "memory.memsw.limit_in_bytes").exists():
            yield folder / "memory.memsw.limit_in_bytes", str(limits.memory_bytes)
    if "cpu" in by_name:
        folder = by_name["cpu"]
        yield folder / "cpu.cfs_period_us", str(PERIOD_US)
        yield folder / "cpu.cfs_quota_us", str(_quota_us(limits))
        yield from _burst(folder / "cpu.cfs_burst_us", limits)
    if "blkio" in by_name:
        for disk, way in itertools.product(disks(), ("read", "write")):
            yield by_name["blkio"] / f"blkio.throttle.{way}_bps_device", f"{disk} {limits.io_bytes_per_s}"


def _burst(path: Path, limits: Limits) -> Iterator[tuple[Path, str]]:
    """What one period left over may be used in the next, and a start begins with it: since Linux 5.14.

    A runtime starts with several threads at once, and would stand still at the end of its first period. In the long run
    the share stays what it is. Written last, because writing it fills the account.
    """
    if path.exists():
        yield path, str(_quota_us(limits))


def _quota_us(limits: Limits) -> int:
    return limits.cpu_percent * PERIOD_US // 100


def disks() -> list[str]:
    """Every disk there is, as the kernel numbers it: a plugin may meet any of them through a folder it was granted."""
    sizes = sorted(Path("/sys/block").glob("*/size"))
    return [(one.parent / "dev").read_text().strip() for one in sizes if _is_used(one)]


def disk_files() -> list[Path]:
    """The same disks as the files by which container engines call them."""
    sizes = sorted(Path("/sys/block").glob("*/size"))
    return [Path("/dev", one.parent.name.replace("!", "/")) for one in sizes if _is_used(one)]


def _is_used(size: Path) -> bool:
    """Whether a disk has any room: loop devices without a file have none."""
    try:
        return int(size.read_text()) > 0
    except (OSError, ValueError):
        return False
