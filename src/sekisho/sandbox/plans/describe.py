"""A plan in words: as JSON for programs, as lines for a person who decides whether to trust it.

Guarantees that every wall of the plan is shown and that no environment value is. Judgement only.
"""

from __future__ import annotations

from typing import Final

from sekisho.protocol.json_text import JsonValue
from sekisho.sandbox.mount import MountKind
from sekisho.sandbox.plans.plan import Plan

__all__ = ["describe", "describe_text"]

MIB: Final = 1 << 20


def describe(plan: Plan) -> dict[str, JsonValue]:
    """The plan as JSON for `sekisho sandbox plan NAME --json`; environment values are left out."""
    limits, times = plan.limits, plan.granted
    return {
        "plugin": plan.name,
        "driver": plan.driver,
        "command": list(plan.command),
        "read_only": [*_paths(plan, "read")],
        "writable": [*_paths(plan, "write")],
        "writes_go_to": _destination(plan),
        "user": plan.staging.owner,
        "blocked": [*_paths(plan, "cover")],
        "private": [*_paths(plan, "tmpfs", "file", "proc", "dev")],
        "environment": [*sorted(plan.environment)],
        "network": "through the gate" if plan.wants_network else "none",
        "unix_sockets": plan.unix_sockets,
        "system_call_filter": plan.filter_digest,
        "landlock": [*(f"{right} {path}" for path, right in plan.rules)],
        "limits": {
            "memory_mb": limits.memory_bytes // MIB,
            "memory_by": limits.memory_by,
            "cpu_percent": limits.cpu_percent,
            "cpu_by": limits.cpu_by,
            "io_mb_per_s": limits.io_bytes_per_s // MIB or None,
            "pids": limits.pids,
            "pids_by": limits.pids_by,
            "cgroup": plan.cgroup_version,
            "rlimits": dict[str, JsonValue]((*limits.rlimits, *limits.inner_rlimits)),
            "scratch_mb": dict[str, JsonValue](_scratch(plan)),
            "execution_timeout_seconds": times.execution_timeout_s,
            "start_timeout_seconds": times.start_timeout_s,
            "idle_stop_seconds": times.idle_stop_s or None,
        },
        "argv": list(plan.argv),
    }


def describe_text(plan: Plan) -> str:
    """The plan as lines for a person."""
    limits, times = plan.limits, plan.granted
    sections = (
        ("driver", [plan.driver]),
        ("command", [" ".join(plan.command)]),
        ("reads", _paths(plan, "read")),
        ("writes", _paths(plan, "write")),
        ("written to", [_destination(plan)]),
        (
            "blocked",
            [mount.path for mount in plan.mounts if mount.kind == "cover" and "/proc/" not in mount.path],
        ),
        ("environment", [" ".join(sorted(plan.environment))]),
        ("network", ["through the gate only" if plan.wants_network else "none"]),
        (
            "limits",
            [
                f"memory {limits.memory_bytes // MIB} MiB (by {limits.memory_by})",
                f"processes {limits.pids} (by {limits.pids_by})",
                f"cpu {limits.cpu_percent} % (by {limits.cpu_by})",
                *(
                    [f"disks {limits.io_bytes_per_s // MIB} MiB a second each"]
                    if limits.io_bytes_per_s
                    else []
                ),
                *(f"open files {value} each" for name, value in limits.inner_rlimits if name == "NOFILE"),
                *(f"{path} {size} MiB" for path, size in _scratch(plan).items()),
                f"{times.execution_timeout_s:g} s a call, {times.start_timeout_s:g} s to start",
                *([f"ended after {times.idle_stop_s:g} s without calls"] if times.idle_stop_s else []),
            ],
        ),
        ("unix sockets", ["its own, and any it finds" if plan.unix_sockets else "pairs alone"]),
        ("filter", [plan.filter_digest]),
    )
    return "\n".join(
        f"{title if first else '':<12} {line}"
        for title, lines in sections
        for first, line in ((index == 0, line) for index, line in enumerate(lines or ["nothing"]))
    )


def _destination(plan: Plan) -> str:
    """Where writes to granted folders end."""
    if not plan.staging.overlays:
        return "the folders themselves"
    return "a draft, to be kept or discarded" if plan.staging.drafts else "memory, until the plugin ends"


def _scratch(plan: Plan) -> dict[str, int]:
    """What it may write that is nobody else's, and how much there, in MiB."""
    if plan.scratch_bytes:
        return {"private folder": plan.scratch_bytes // MIB}
    return {one.path: one.size // MIB for one in plan.mounts if one.kind == "tmpfs" and one.size}


def _paths(plan: Plan, *kinds: MountKind) -> list[str]:
    return [mount.path for mount in plan.mounts if mount.kind in kinds]
