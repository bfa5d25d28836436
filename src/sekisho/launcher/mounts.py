"""A root of our own, made of detached mounts: each is finished before it is visible, and placed where no link leads.

Guarantees
- a part of the host comes in without set-uid programs and device nodes, with everything mounted below it, and
  read-only as a whole unless it was granted for writing;
- neither the source nor the place of a mount is ever reached through a symbolic link, whoever made it and when;
- the old root is gone when `build` returns, and the new one cannot be changed.

Needs Linux 5.12 (mount_setattr). Knows no grant: it carries out a list.
"""

# ruff: noqa: PTH102, PTH106 - pathlib is not imported here
from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekisho.launcher.calls import AT_EMPTY_PATH, AT_RECURSIVE, call
from sekisho.launcher.folders import (
    MOVE_FROM_EMPTY,
    MOVE_TO_EMPTY,
    RESOLVE_NO_SYMLINKS,
    Folders,
    beneath,
    put_into,
)
from sekisho.launcher.kernel import libc

__all__ = ["build", "copied", "devices_of_host", "fresh", "furnish", "host", "open_plain", "seal"]

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6
CLOEXEC: Final = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
RDONLY: Final = 0x1  # MOUNT_ATTR_*
NOSUID: Final = 0x2
NODEV: Final = 0x4
NOEXEC: Final = 0x8
MS_REC_SLAVE: Final = 0x4000 | 0x80000
MNT_DETACH: Final = 2
AT_FDCWD: Final = -100
ROOT_BYTES: Final = 4 << 20  # folders and the private /etc; nothing else is ever written here
STAGE: Final = "/usr"  # any folder that is on every host; only our own copy of the tree is covered
OLD: Final = "/.old"
DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),  # as everywhere; the file itself is not readable
    ("ptmx", "pts/ptmx"),
)


def build(mounts: Sequence[Mapping[str, Any]], data: Mapping[str, bytes]) -> None:
    """Make the listed mounts the whole file system of this mount namespace, in order."""
    if libc.mount(None, b"/", None, MS_REC_SLAVE, None) != 0:
        raise OSError("the host's mounts cannot be detached from ours")
    # Everything of the host is taken while its root is still ours.
    taken = {index: take(mount) for index, mount in enumerate(mounts) if is_taken(mount)}
    devices = devices_of_host()
    enter_root()
    root = open_plain("/")
    furnish(root, mounts, taken, data, devices)
    if libc.umount2(OLD.encode(), MNT_DETACH) != 0:
        raise OSError("the host's root cannot be left")
    os.rmdir(OLD)
    seal(root)
    os.close(root)


def furnish(
    root: int,
    mounts: Sequence[Mapping[str, Any]],
    taken: Mapping[int, int],
    data: Mapping[str, bytes],
    devices: Mapping[str, int],
) -> None:
    """Place the listed things below a folder, in order, and let nobody change what is ours among them.

    Args:
        root: the folder; whoever calls seals it.
        taken: what comes from the host, already detached, by its index in the list.
    """
    os.umask(0)  # else each mode would have to be set after the file was made
    with Folders(root) as folders:
        for index, mount in enumerate(mounts):
            place(folders, mount, taken.get(index), data, devices)
    for mount in mounts:
        if mount["kind"] == "dev" or is_folder_cover(mount):
            fd = beneath(root, mount["path"])
            seal(fd)
            os.close(fd)


def is_taken(mount: Mapping[str, Any]) -> bool:
    """Whether it comes from the host. What lies below /proc is taken from the new one instead."""
    from_host = mount["kind"] in {"read", "write"} and not mount["source"].startswith("/proc/")
    return from_host or is_file_cover(mount)


def is_file_cover(mount: Mapping[str, Any]) -> bool:
    return mount["kind"] == "cover" and bool(mount["source"])


def is_folder_cover(mount: Mapping[str, Any]) -> bool:
    return mount["kind"] == "cover" and not mount["source"]


def devices_of_host() -> dict[str, int]:
    """Each of the few devices that this host has, and a folder of terminals of its own; detached."""
    found = {"pts": fresh("devpts", {"ptmxmode": "0666", "mode": "620"}, NOSUID | NOEXEC)}
    for name in DEVICES:
        with contextlib.suppress(FileNotFoundError):
            found[name] = host("/dev/" + name, NOSUID | NOEXEC)
    return found


def take(mount: Mapping[str, Any]) -> int:
    return host(mount["source"], NOSUID | NODEV | (0 if mount["kind"] == "write" else RDONLY))


def host(path: str, attributes: int) -> int:
    """A part of the host with everything below it, detached, and already as it shall be seen."""
    source = open_plain(path)
    tree = copied(source, attributes)
    os.close(source)
    return tree


def copied(source: int, attributes: int) -> int:
    """The same of an open file or folder, which stays open."""
    tree = call(
        "open_tree", source, b"", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    )  # fmt: skip
    set_attributes(tree, attributes, AT_RECURSIVE)
    return tree


def open_plain(path: str) -> int:
    """A descriptor that only names the file; a link anywhere on the way is refused."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS)
    try:
        return call("openat2", AT_FDCWD, os.fsencode(path), how, len(how))
    except OSError as error:
        raise OSError(error.errno, f"{path}: {os.strerror(error.errno or 0)}") from error


def set_attributes(fd: int, attributes: int, flags: int = 0) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    call("mount_setattr", fd, b"", AT_EMPTY_PATH | flags, wanted, len(wanted))


def enter_root() -> None:
    """An empty root; the host's is below it until all is built."""
    fd = fresh("tmpfs", {"size": str(ROOT_BYTES), "mode": "0755"}, NOSUID | NODEV)
    stage = open_plain(STAGE)
    call("move_mount", fd, b"", stage, b"", MOVE_FROM_EMPTY | MOVE_TO_EMPTY)
    os.close(stage)
    os.close(fd)
    os.mkdir(STAGE + OLD, 0o700)
    call("pivot_root", STAGE.encode(), (STAGE + OLD).encode())
    os.chdir("/")


def fresh(kind: str, options: Mapping[str, str], attributes: int) -> int:
    """A new file system of the kernel's, detached."""
    context = call("fsopen", kind.encode(), CLOEXEC)
    for name, value in options.items():
        if value:
            call("fsconfig", context, FSCONFIG_SET_STRING, name.encode(), value.encode(), 0)
        else:
            call("fsconfig", context, FSCONFIG_SET_FLAG, name.encode(), None, 0)
    call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
    fd = call("fsmount", context, CLOEXEC, attributes)
    os.close(context)
    return fd


def place(
    folders: Folders,
    mount: Mapping[str, Any],
    taken: int | None,
    data: Mapping[str, bytes],
    devices: Mapping[str, int],
) -> None:
    """One thing of the list, where it belongs."""
    path, mode = mount["path"], mount["mode"] or "0755"
    match mount["kind"]:
        case "read" | "write" | "cover" if taken is not None:
            folders.put(taken, path)
        case "read" | "write" | "cover" if mount["source"]:  # of our own /proc, which is mounted by now
            folders.put(host(mount["source"], NOSUID | NODEV | NOEXEC | RDONLY), path)
        case "link":
            parent, name = folders.above(path)
            os.symlink(mount["source"], name, dir_fd=parent)
        case "proc":
            folders.put(fresh("proc", {}, NOSUID | NODEV | NOEXEC), path)
        case "dev":
            folders.put(fresh("tmpfs", {"size": str(1 << 16), "mode": "0755"}, NOSUID), path)
            make_devices(folders.root, path, devices)
        case "file":
            parent, name = folders.above(path)
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, int(mode, 8), dir_fd=parent)
            os.write(fd, data[path])
            os.close(fd)
        case "tmpfs":
            folders.put(fresh("tmpfs", {"size": str(mount["size"]), "mode": mode}, NOSUID | NODEV), path)
        case "cover":
            folders.put(fresh("tmpfs", {"size": str(mount["size"]), "mode": "0555"}, NOSUID | NODEV), path)
        case other:
            raise OSError(f"{path}: {other!r} cannot be mounted")


def make_devices(root: int, path: str, devices: Mapping[str, int]) -> None:
    """The few devices a program needs, terminals of its own among them; no other one has a name here."""
    folder = beneath(root, path)
    for name, fd in devices.items():
        put_into(folder, name, fd)
    for name, target in DEVICE_LINKS:
        os.symlink(target, name, dir_fd=folder)
    os.mkdir("shm", 0o755, dir_fd=folder)
    os.close(folder)


def seal(fd: int) -> None:
    """Nothing of this mount changes from here on; what is mounted below it keeps its own word."""
    set_attributes(fd, RDONLY)
