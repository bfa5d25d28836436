"""How much one plugin may use, and which mechanism holds each limit on this host.

Guarantees that a limit which nothing can hold is refused, and that processes of ours are not counted as the plugin's.
Judgement only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from sekisho.sandbox.plans.spec import Capabilities, SandboxSpec, unavailable

__all__ = ["OWN_PROCESSES", "SHARING", "Limits", "limits_of"]

OWN_PROCESSES: Final = (
    2  # bwrap and the first process of the inner world count against the limit too; ours is one
)
HARD_DATA_FACTOR: Final = (
    4  # RLIMIT_DATA is per process and counts untouched pages; it only stops a sudden burst
)
MIN_DATA_BYTES: Final = 1 << 30  # Node reserves this much before it runs a line
SHARING: Final = ("landlock", "unsafe-none")  # drivers that leave the plugin in the host's own file system
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one plugin may use, and which mechanism holds it."""

    memory_bytes: int
    cpu_percent: int
    pids: int
    memory_by: Literal["cgroup", "guard"]
    pids_by: Literal["cgroup", "rlimit", "guard"]
    cpu_by: Literal["cgroup", "guard"]
    rlimits: tuple[tuple[str, int], ...]
    inner_rlimits: tuple[tuple[str, int], ...]
    io_bytes_per_s: int = 0  # without limit
    own_processes: int = OWN_PROCESSES


def limits_of(spec: SandboxSpec, capabilities: Capabilities) -> Limits:
    """The limits of one spec on one host.

    Raises:
        Misconfigured: one of them cannot be held here.
    """
    asked = spec.grants.limits
    if asked.io_mbps and not capabilities.enforces("io"):
        raise unavailable(
            f"io_mbps of plugin {spec.name!r} cannot be enforced: there is no control group for disks here",
            "leave io_mbps out, or delegate the io controller to this user (systemd: Delegate=yes)",
        )
    memory = asked.max_memory_mb * _MIB
    by_group = capabilities.enforces("memory")
    pids_by_group = capabilities.enforces("pids")
    is_sharing = capabilities.driver in SHARING  # then the kernel would count all processes of our user
    # Deno reserves more than any sensible limit and dies under RLIMIT_DATA; the guard alone watches it.
    bounds_data = not by_group and PurePosixPath(spec.argv[0]).name != "deno"
    data_bytes = max(memory * HARD_DATA_FACTOR, MIN_DATA_BYTES)
    pids = asked.max_pids + (spec.warm is not None)  # the fork server is no process of the plugin's
    return Limits(
        memory_bytes=memory,
        cpu_percent=asked.max_cpu_percent,
        pids=pids,
        own_processes=OWN_PROCESSES if capabilities.driver == "bubblewrap" else 1,
        memory_by="cgroup" if by_group else "guard",
        pids_by="cgroup" if pids_by_group else "guard" if is_sharing else "rlimit",
        cpu_by="cgroup" if capabilities.enforces("cpu") else "guard",
        io_bytes_per_s=asked.io_mbps * _MIB,
        rlimits=(("CORE", 0),),
        inner_rlimits=(
            ("NOFILE", asked.max_open_files),
            # Set inside, where the kernel counts the processes of this plugin alone.
            *(() if pids_by_group or is_sharing else (("NPROC", pids + 1),)),
            *((("DATA", data_bytes),) if bounds_data else ()),
        ),
    )
