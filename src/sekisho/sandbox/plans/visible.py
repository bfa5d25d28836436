"""What a plugin sees of the file system, as mounts.

Guarantees
- nothing of the host is inside unless it is listed here; what is listed is read-only unless granted for writing;
- the longest listed path decides, and of equal ones the stricter: blocked, then read-only, then writable;
- a blocked path inside a granted one is covered by an empty, read-only cover;
- no path of the kernel's own interfaces (/proc, /sys, /dev) can be granted.

Judgement only: what exists was found by `closure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from sekisho.sandbox.mount import Mount, is_below, normal
from sekisho.sandbox.plans.spec import INNER_HOME, Closure, SandboxSpec, unavailable

__all__ = ["HOST_NAME", "INNER_ID", "base_mounts", "is_folder_cover", "listed_mounts", "private_etc"]

INNER_ID: Final = "1000"
HOST_NAME: Final = "plugin"
FIRST_PROCESS: Final = "/proc/1"
SHM_BYTES: Final = 16 << 20  # semaphores and small shared maps; the memory limit counts it as well
_MIB: Final = 1 << 20
_KERNEL_FOLDERS: Final = ("/proc", "/sys", "/dev")


def private_etc(closure: Closure) -> dict[str, bytes]:
    """A private /etc: names of the host's users, hosts and resolvers never show inside."""
    files = {
        "/etc/passwd": f"root:x:0:0::/:/bin/false\nplugin:x:{INNER_ID}:{INNER_ID}::{INNER_HOME}:/bin/sh\n",
        "/etc/group": f"root:x:0:\nplugin:x:{INNER_ID}:\n",
        "/etc/hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
        "/etc/hostname": f"{HOST_NAME}\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    }
    made = {path: text.encode() for path, text in files.items()}
    if closure.localtime:
        made["/etc/localtime"] = closure.localtime
    if closure.localtime and closure.zone:
        made["/etc/timezone"] = f"{closure.zone}\n".encode()
    return made


def base_mounts(
    spec: SandboxSpec, data: Mapping[str, bytes], closure: Closure, *, hides_first: bool = False
) -> tuple[Mount, ...]:
    """What every plugin sees: kernel views of itself, private scratch space, a private /etc.

    Args:
        spec: the wish; how large its scratch space is.
        data: files by their paths inside.
        closure: what was found of the host.
        hides_first: covers the first process of the inner world. bwrap's runs under the plugin's user and does not close
            its memory; our own does.
    """
    scratch = spec.grants.limits.max_tmp_mb * _MIB
    return (
        Mount(kind="proc", path="/proc"),
        # Our uid may be root, and root may write kernel settings even without capabilities: core_pattern is a way out.
        Mount(kind="read", path="/proc/sys", source="/proc/sys"),
        *(_cover(path, is_folder=path in closure.proc_folders) for path in closure.proc_masks),
        *([_cover(FIRST_PROCESS, is_folder=True)] if hides_first else []),
        Mount(kind="dev", path="/dev"),
        Mount(kind="tmpfs", path="/dev/shm", size=SHM_BYTES, mode="1777"),  # noqa: S108 - inside the wall
        Mount(kind="tmpfs", path="/tmp", size=scratch, mode="1777"),  # noqa: S108 - inside the wall
        Mount(kind="tmpfs", path=INNER_HOME, size=scratch, mode="0700"),
        *(Mount(kind="file", path=path, mode="0444") for path in data if path.startswith("/")),
    )


def listed_mounts(spec: SandboxSpec, closure: Closure) -> tuple[Mount, ...]:
    """What is bound from the host, shallow before deep, so that the longest path is mounted last and wins."""
    files = spec.grants.files
    # Later assignments win: a path that is listed twice gets the stricter of its grants.
    chosen: dict[str, Mount] = {}
    for path in map(normal, files.writable_paths):
        chosen[path] = Mount(kind="write", path=path, source=path)
    for path in map(normal, files.read_only_paths):
        chosen[path] = Mount(kind="read", path=path, source=path)
    for path in closure.read_only:
        chosen.setdefault(path, Mount(kind="read", path=path, source=path))
    for path in map(normal, (*files.writable_paths, *files.read_only_paths)):
        if is_below(path, _KERNEL_FOLDERS):
            raise unavailable(
                f"{path} cannot be granted", "/proc, /sys and /dev are the kernel's own; leave them out"
            )
    bound = tuple(chosen)
    for path in closure.missing_blocked:
        if is_below(path, bound):
            raise unavailable(
                f"blocked path {path} does not exist, so it cannot be covered inside a granted folder",
                "create it empty, or grant less",
            )
    for path, is_folder in closure.blocked:
        if path == "/usr":
            raise unavailable(f"blocked path {path} would hide the system itself", "block what lies below it")
        # Where nothing is bound at it or above it, nothing of the host is there to hide: what is listed below is longer
        # and wins, and the rest was never shown. So "/" says in words what holds in any case.
        if is_below(path, bound):
            chosen[path] = _cover(path, is_folder=is_folder)
    _pin(chosen)
    links = tuple(Mount(kind="link", path=link.path, source=link.target) for link in closure.links)
    return (*links, *(chosen[path] for path in sorted(chosen, key=_depth)))


def is_folder_cover(mount: Mount) -> bool:
    """Whether a mount is the empty folder over a blocked one."""
    return mount.kind == "cover" and not mount.source


def _pin(chosen: dict[str, Mount]) -> None:
    """Mount the folders on the way to each exception too: a mount cannot be renamed.

    Else a plugin would rename the folder around a blocked path or a read-only one, put an empty one in its place, and
    find the real one open at its next start.
    """
    for path in [path for path, mount in chosen.items() if mount.kind in {"read", "cover"}]:
        for above in PurePosixPath(path).parents:
            around = next((chosen[str(one)].kind for one in above.parents if str(one) in chosen), None)
            if str(above) not in chosen and around == "write":
                chosen[str(above)] = Mount(kind="write", path=str(above), source=str(above))


def _cover(path: str, *, is_folder: bool) -> Mount:
    return Mount(kind="cover", path=path, source="" if is_folder else "/dev/null", size=4096)


def _depth(path: str) -> tuple[int, str]:
    return (path.count("/"), path)
