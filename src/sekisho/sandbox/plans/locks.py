"""The mounts of a plan as Landlock rules: a second lock behind our own root, and the first where there is none.

Guarantees that a rule gives nothing that the mounts do not, and that what Landlock cannot say (a hole in a granted
folder, a read-only folder in a writable one) is refused instead of being left out. Judgement only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.spec import unavailable

__all__ = ["SCRATCH", "SCRATCH_HOME", "SCRATCH_TMP", "Right", "Rule", "rules_of", "shared_rules"]

Right = Literal["read", "write", "use"]
Rule = tuple[str, Right]

SCRATCH: Final = "{scratch}"
SCRATCH_HOME: Final = SCRATCH + "/home"
SCRATCH_TMP: Final = SCRATCH + "/tmp"  # noqa: S108 - a folder of our own
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# What interpreters ask about the machine; nothing here is about a process or a user.
_MACHINE: Final = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems")


def rules_of(mounts: Iterable[Mount]) -> tuple[Rule, ...]:
    """Behind a root of its own: read everything there is, write what is writable, use the devices.

    /proc is for use, because a process writes its own entries there; the kernel judges every other one.
    """
    found: dict[str, Right] = {"/": "read"}
    for mount in mounts:
        match mount.kind:
            case "write" | "tmpfs":
                found[mount.path] = "write"
            case "dev" | "proc":
                found[mount.path] = "use"
            case _:
                pass
    return tuple(found.items())


def shared_rules(mounts: Iterable[Mount], *, has_time_zone: bool) -> tuple[Rule, ...]:
    """In the host's file system: the listed paths, a few devices, and a private folder.

    Raises:
        Misconfigured: a grant has an exception below it, which these rules cannot express.
    """
    listed = [mount for mount in mounts if mount.kind in {"read", "write", "cover"}]
    for inner in listed:
        for outer in listed:
            is_below = inner.path.startswith(outer.path + "/") or (
                inner is not outer and inner.path == outer.path
            )
            if is_below and (inner.kind == "cover" or (inner.kind, outer.kind) == ("read", "write")):
                raise unavailable(
                    f"{inner.path} cannot be kept from a plugin that is granted {outer.path}: Landlock adds rights "
                    "on the way down and takes none away",
                    "grant the folders beside it one by one, or use a driver with namespaces (see sekisho doctor)",
                )
    given: dict[str, Right] = dict.fromkeys(_DEVICES, "use")
    given |= dict.fromkeys((*_MACHINE, *(("/etc/localtime",) if has_time_zone else ())), "read")
    for mount in listed:
        if mount.kind != "cover":  # a granted path that is blocked itself
            given[mount.path] = "write" if mount.kind == "write" else "read"
    return (*given.items(), (SCRATCH, "write"))
