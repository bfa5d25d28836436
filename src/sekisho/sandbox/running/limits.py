"""Limits that hold for a whole tree of processes: control groups, version 1 and 2.

Guarantees that a group made here carries every limit before any process joins it, that the process which
joins cannot leave it (no cgroup tree is visible inside), and that groups of dead owners are swept away. Finds
the place below which this user may make groups; where there is none, `plan` chooses weaker means and says so.
Decides no limit itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.plans.spec import CgroupVersion, unavailable
from sekisho.sandbox.running.delegation import is_delegated, make_room
from sekisho.sandbox.running.group_settings import settings

__all__ = [
    "Group",
    "Usage",
    "find_parents",
    "group_of",
    "make_group",
    "read_counts",
    "sweep",
]

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("memory", "pids", "cpu", "cpuacct", "blkio")
_COUNTED: Final = ("memory", "pids", "cpu")
_DISK: Final = ("io", "blkio")  # as version 2 and version 1 call it
MAX_COUNTS_BYTES: Final = 1 << 16  # the kernel writes a page at most
_NAME: Final = re.compile(r"sekisho-(\d+)-.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tree uses now; None where nothing measures it."""

    memory_bytes: int | None
    pids: int | None
    cpu_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The folders of one sandbox's control groups: one per controller (v1) or one in all (v2).

    Somebody else's (`is_ours` False) are read, and left to who made them.
    """

    version: CgroupVersion
    folders: tuple[tuple[str, Path], ...]
    is_ours: bool = True

    @property
    def join_files(self) -> tuple[str, ...]:
        """Where a single thread writes 0 to join.

        Version 1 has a file for threads, which spares the kernel a lock over all processes: 9 ms on an idle host.
        """
        name = "tasks" if self.version == "v1" else "cgroup.procs"
        return tuple(dict.fromkeys(str(folder / name) for _, folder in self.folders))

    def oom_kills(self) -> int:
        """How often the kernel killed a process here for its memory."""
        folder = self._folder("memory")
        if folder is None:
            return 0
        return (
            _member(folder / ("memory.events" if self.version == "v2" else "memory.oom_control"), "oom_kill")
            or 0
        )

    def usage(self) -> Usage:
        """What the kernel has counted."""
        memory, pids = self._folder("memory"), self._folder("pids")
        name = "memory.current" if self.version == "v2" else "memory.usage_in_bytes"
        return Usage(
            memory_bytes=_number(memory / name) if memory is not None else None,
            pids=_number(pids / "pids.current") if pids is not None else None,
            cpu_s=self._cpu_s(),
        )

    def members(self) -> frozenset[int]:
        """The processes that are in it."""
        found: set[int] = set()
        for _, folder in self.folders:
            with contextlib.suppress(OSError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return frozenset(found)

    def kill(self) -> None:
        """Kill whatever is still in it; a second net below the process namespace."""
        for _, folder in self.folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.kill").write_text("1")
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> bool:
        """Remove the empty folders; False when one is not empty yet."""
        if not self.is_ours:
            return True
        for _, folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for _, folder in self.folders)

    def _folder(self, controller: str) -> Path | None:
        return next((folder for name, folder in self.folders if name == controller), None)

    def _cpu_s(self) -> float | None:
        if self.version == "v2":
            folder = self._folder("cpu")
            micro = None if folder is None else _member(folder / "cpu.stat", "usage_usec")
            return None if micro is None else micro / 1e6
        folder = self._folder("cpuacct")
        nano = None if folder is None else _number(folder / "cpuacct.usage")
        return None if nano is None else nano / 1e9


def find_parents(
    root: Path = CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")
) -> tuple[CgroupVersion, tuple[tuple[str, str], ...]]:
    """The folders below which this process may make limited groups, tried by making one."""
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return "none", ()
    own = {name: path for _, names, path in lines for name in names.split(",")}
    if (root / "cgroup.controllers").exists():
        parents = _find_v2(root, own.get("", "/"))
        return ("v2", parents) if parents else ("none", ())
    found = []
    for controller in _CONTROLLERS:
        for candidate in _upwards(root / controller, own.get(controller, "/")):
            if _may_make(candidate):
                found.append((controller, str(candidate)))
                break
    return ("v1", tuple(found)) if found else ("none", ())


def group_of(pid: int, root: Path = CGROUP_ROOT, proc: Path = Path("/proc")) -> Group | None:
    """The limited groups that somebody else made around a process; None where there are none, or it is gone."""
    try:
        lines = [line.split(":", 2) for line in (proc / str(pid) / "cgroup").read_text().splitlines()]
    except OSError:
        return None
    own = {name: path for _, names, path in lines for name in names.split(",")}
    if (root / "cgroup.controllers").exists():
        # the process may stand in a group without limits of its own, below the one that has them
        around = (one for one in _upwards(root, own.get("", "/")) if _is_limited(one))
        found = [(name, folder) for folder in (next(around, None),) if folder for name in _COUNTED]
        return Group(version="v2", folders=tuple(found), is_ours=False) if found else None
    folders = [(name, root / name / own[name].lstrip("/")) for name in _CONTROLLERS if name in own]
    found = [(name, folder) for name, folder in folders if folder.is_dir()]
    is_limited = any(name == "pids" and _is_limited(folder) for name, folder in found)
    return Group(version="v1", folders=tuple(found), is_ours=False) if is_limited else None


def make_group(
    version: CgroupVersion, parents: tuple[tuple[str, str], ...], name: str, number: int, limits: Limits
) -> Group:
    """A new group with its limits set."""
    folder_name = f"sekisho-{os.getpid()}-{number}-{name}"
    wanted = ((one, parent) for one, parent in parents if one not in _DISK or limits.io_bytes_per_s)
    group = Group(version=version, folders=tuple((one, Path(parent) / folder_name) for one, parent in wanted))
    try:
        for _, folder in group.folders:
            folder.mkdir(exist_ok=version == "v2")
        for path, text in settings(group.version, group.folders, limits):
            _write(path, text)
    except OSError as error:
        group.remove()
        raise unavailable(f"a limit of plugin {name!r} cannot be set: {error}") from error
    return group


def _write(path: Path, text: str) -> None:
    """One write, without the five calls that a text file costs beside it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def sweep(parents: tuple[tuple[str, str], ...]) -> None:
    """Remove empty groups whose owner is dead: an owner killed by SIGKILL leaves its folders, never its
    processes.
    """
    for parent in {parent for _, parent in parents}:
        with contextlib.suppress(OSError):
            for name in os.listdir(parent):  # noqa: PTH208  # names, not paths
                match = _NAME.fullmatch(name)
                if match is not None and not Path("/proc", match[1]).exists():
                    with contextlib.suppress(OSError):
                        Path(parent, name).rmdir()


def _find_v2(root: Path, own: str) -> tuple[tuple[str, str], ...]:
    """A folder whose children get controllers; a folder that holds processes itself cannot give them any."""
    for candidate in _upwards(root, own):
        if not _may_make(candidate):
            continue
        if is_delegated(candidate):
            make_room(candidate)
        control = candidate / "cgroup.subtree_control"
        with contextlib.suppress(OSError):
            for controller in {"memory", "pids", "cpu", "io"} - {*control.read_text().split()}:
                with contextlib.suppress(OSError):
                    control.write_text(f"+{controller}")
            given = control.read_text().split()
            if "memory" in given:
                return tuple((one, str(candidate)) for one in ("memory", "pids", "cpu", "io") if one in given)
    return ()


def _upwards(root: Path, own: str) -> Iterator[Path]:
    """Our own group first, so that limits around us stay around our plugins; then its parents."""
    path = root / own.lstrip("/")
    while path.is_relative_to(root):
        if path.is_dir():
            yield path
        path = path.parent


def _is_limited(folder: Path) -> bool:
    return _number(folder / "pids.max") is not None  # else it says "max"


def _may_make(folder: Path) -> bool:
    trial = folder / f"sekisho-{os.getpid()}-trial"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


def read_counts(path: Path) -> str:
    """A file of a group's, without the five calls that a text file costs beside it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, MAX_COUNTS_BYTES).decode()
    finally:
        os.close(fd)


def _number(path: Path) -> int | None:
    try:
        return int(read_counts(path))
    except (OSError, ValueError):
        return None


def _member(path: Path, name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in read_counts(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return None
