"""The plugin's root, put together before bwrap runs: bwrap then binds one tree where it would mount thirty things.

Guarantees
- what stands in it is what bwrap would have made of the same list, in the same order: each part of the host was opened
  before and is read-only, unless it was granted for writing; nothing set-uid, no device nodes but the few of /dev; the
  root itself cannot be changed;
- what lies below /proc stays bwrap's, because only its process namespace has the /proc that shows it; what bwrap
  covers it with is read-only already;
- files and folders of ours belong to the plugin's user, if it has its own;
- where the kernel has not all that is needed, that is found out before anything is changed.

Worth its while because bwrap reads the table of all mounts for each thing that it binds, and because each of its calls
rings with whoever listens (`alarm`). Needs Linux 5.12. Knows no grant: it carries out a list.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sekisho.launcher.calls import AT_RECURSIVE
from sekisho.launcher.folders import beneath, put
from sekisho.launcher.kernel import libc
from sekisho.launcher.mounts import (
    NODEV,
    NOSUID,
    RDONLY,
    ROOT_BYTES,
    devices_of_host,
    fresh,
    furnish,
    host,
    open_plain,
    seal,
    set_attributes,
)

__all__ = ["STAGE", "Parts", "bind_whole", "covers_proc", "gather", "put_together"]

STAGE: Final = "/tmp"  # noqa: S108 - covered by a folder of ours, in our own mount namespace
ROOT: Final = "root"
EMPTY: Final = "empty"
PROC: Final = "/proc"
READ_ONLY: Final = NOSUID | NODEV | RDONLY
OPTIONS_END: Final = "--clearenv"  # beyond it stand values, which may look like options
# What says in bwrap's words what the list says: how many words follow each of them.
_MOUNTING: Final = {
    "--bind": 2, "--ro-bind": 2, "--symlink": 2, "--file": 2, "--proc": 1, "--dev": 1, "--tmpfs": 1, "--perms": 1,
    "--size": 1, "--remount-ro": 1,
}  # fmt: skip


class Parts(NamedTuple):
    """All that is needed, detached: nobody sees it yet."""

    listed: Sequence[Mapping[str, Any]]
    taken: Mapping[int, int]
    devices: Mapping[str, int]
    of_proc: Mapping[str, int]


def gather(mounts: Sequence[Mapping[str, Any]], trees: Mapping[str, int], owner: int | None) -> Parts:
    """Everything the root consists of; `trees` are the parts of the host that were taken already, by their names.

    Raises:
        OSError: something is missing, or this kernel cannot; nothing was changed.
    """
    listed = [mount for mount in mounts if not is_of_proc(mount)]
    taken = {}
    for index, mount in enumerate(listed):
        if mount["kind"] in {"read", "write"}:
            taken[index] = trees[mount["source"]]
            set_attributes(
                taken[index], READ_ONLY & ~(RDONLY if mount["kind"] == "write" else 0), AT_RECURSIVE
            )
        elif mount["kind"] == "cover" and mount["source"]:
            taken[index] = host(mount["source"], READ_ONLY)
    sources = {mount["source"] for mount in mounts if is_of_proc(mount) and mount["source"]}
    of_proc = {source: host(source, READ_ONLY) for source in sorted(sources)}
    with acting_as(owner):
        devices = devices_of_host()
    return Parts(listed=listed, taken=taken, devices=devices, of_proc=of_proc)


def put_together(parts: Parts, data: Mapping[str, bytes], owner: int | None) -> None:
    """Make the root, and beside it what parts of /proc are covered with; bwrap finds both below `STAGE`."""
    with acting_as(owner):
        stage = open_plain(STAGE)
        put(stage, empty_folder(), ".")
        os.close(stage)
        shelf = open_plain(STAGE)
        os.mkdir(EMPTY, 0o555, dir_fd=shelf)
        for source, fd in parts.of_proc.items():
            put(shelf, fd, shelf_name(source))
        put(shelf, empty_folder(), ROOT)
        root = beneath(shelf, ROOT)
        os.mkdir(PROC.strip("/"), 0o555, dir_fd=root)
        furnish(root, parts.listed, parts.taken, data, parts.devices)
        for fd in (root, shelf):
            seal(fd)
            os.close(fd)


def empty_folder() -> int:
    """A file system in memory for folders and small files of ours."""
    return fresh("tmpfs", {"size": str(ROOT_BYTES), "mode": "0755"}, NOSUID | NODEV)


@contextlib.contextmanager
def acting_as(owner: int | None) -> Iterator[None]:
    """What is made meanwhile belongs to this user. Root keeps its right to mount, and loses those over files."""
    before = os.geteuid(), os.getegid()
    if owner is not None:
        libc.setfsgid(owner)
        libc.setfsuid(owner)
    yield
    if owner is not None:
        libc.setfsuid(before[0])
        libc.setfsgid(before[1])


def bind_whole(
    words: Sequence[str], mounts: Sequence[Mapping[str, Any]], *, covers: bool = True
) -> list[str]:
    """bwrap's options with one bind in the place of all that stands in the root already.

    Args:
        covers: whether bwrap covers parts of /proc; else somebody has to, before the plugin runs.
    """
    end = words.index(OPTIONS_END)
    kept, at = [], 0
    while at < end:
        following = _MOUNTING.get(words[at], -1)
        if following < 0:
            kept.append(words[at])
        at += 1 + max(following, 0)
    # As devices, because the few of /dev are to be used: all else in the tree says of itself that it holds none.
    kept += ["--dev-bind", f"{STAGE}/{ROOT}", "/", "--proc", PROC]
    for mount in mounts:
        if covers and covers_proc(mount):
            source = shelf_name(mount["source"]) if mount["source"] else EMPTY
            kept += ["--ro-bind", f"{STAGE}/{source}", mount["path"]]
    return [*kept, *words[end:]]


def is_of_proc(mount: Mapping[str, Any]) -> bool:
    return f"{mount['path']}/".startswith(PROC + "/")


def covers_proc(mount: Mapping[str, Any]) -> bool:
    """Whether it covers a part of the plugin's own /proc."""
    return is_of_proc(mount) and mount["kind"] != "proc"


def shelf_name(source: str) -> str:
    """What a part of the host is called beside the root."""
    return source.strip("/").replace("/", "-")
