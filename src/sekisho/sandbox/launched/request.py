"""What the launcher is asked for: one launch, rendered from a plan, in words for each who has a part in it.

Guarantees that the launcher learns what a child's life is bound by, the child which walls to raise, the watcher which
paths to look at, and nobody what is meant for another (`launcher.request` reads them). The private folder's name, which
no plan knows, is filled in here. Judgement: a plan in, bytes out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from sekisho.launcher.root import covers_proc
from sekisho.sandbox.calls.watched import places_of, places_of_rules
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.locks import SCRATCH
from sekisho.sandbox.plans.plan import Plan
from sekisho.sandbox.plans.staged import overlay_tag

__all__ = ["launch_message", "request_of"]

_encode: Final = msgspec.json.Encoder().encode  # seven times as fast as the standard library's


def launch_message(number: int, plan: Plan, scratch: Path | None) -> bytes:
    """What the launcher itself has to know of it."""
    limits = plan.limits
    life = {
        "kind": plan.driver,
        "alarm": "alarm" in plan.data,
        "inner_rlimits": dict(limits.inner_rlimits),
        "guard_bytes": limits.memory_bytes if limits.memory_by == "guard" else 0,
        "guard_cpu_percent": limits.cpu_percent if limits.cpu_by == "guard" else 0,
        "guard_pids": limits.pids + limits.own_processes if limits.pids_by != "cgroup" else 0,
        "owner": plan.staging.owner,
        "scratch": "" if scratch is None else str(scratch),
        "scratch_bytes": plan.scratch_bytes if scratch is not None else 0,
    }
    return _to_json({"op": "launch", "id": number, "life": life})


def request_of(plan: Plan, scratch: Path | None, join: Sequence[str]) -> bytes:
    """A line for the child and a line for the watcher; `join` are the files by which a control group is entered."""
    return b"\n".join(map(_to_json, (_for_child(plan, scratch, join), _for_watcher(plan, scratch))))


def _for_child(plan: Plan, scratch: Path | None, join: Sequence[str]) -> dict[str, object]:
    return {
        "kind": plan.driver,
        "mounts": [_words_of(mount) for mount in plan.mounts] if plan.has_own_root else (),
        **_own_walls(plan, scratch),
        "program": plan.program,
        "options": plan.options,
        "command": plan.command,
        "data": {name: base64.b64encode(content).decode() for name, content in plan.data.items()},
        "join": join,
        "rlimits": dict(plan.limits.rlimits),
        "inner_rlimits": dict(plan.limits.inner_rlimits),
        "network": plan.wants_network,
        "staging": _staging(plan),
    }


def _to_json(words: dict[str, object]) -> bytes:
    try:
        return _encode(words)
    except UnicodeEncodeError:  # a name of the host that is no text, which the standard library escapes
        return json.dumps(words).encode()


def _own_walls(plan: Plan, scratch: Path | None) -> dict[str, object]:
    """What bwrap is told by its options, for the walls that are ours; the private folder's name is known now."""
    if plan.program:
        return {}
    return {
        "rules": [(_filled(path, scratch), right) for path, right in plan.rules],
        "environment": {name: _filled(value, scratch) for name, value in plan.environment.items()},
        "cwd": _filled(plan.cwd, scratch),
    }


def _for_watcher(plan: Plan, scratch: Path | None) -> dict[str, object]:
    return {
        "kind": plan.driver,
        "refusals": {str(call): error for call, error in plan.refusals.items()},
        "watched": {number: (one.paths, one.flags, one.mode) for number, one in plan.watched.items()},
        "places": _places(plan, scratch),
        "covers": [(one.path, one.source) for one in plan.mounts if covers_proc(_words_of(one))],
    }


def _words_of(mount: Mount) -> dict[str, object]:
    return {
        "kind": mount.kind,
        "path": mount.path,
        "source": mount.source,
        "size": mount.size,
        "mode": mount.mode,
    }


def _places(plan: Plan, scratch: Path | None) -> tuple[tuple[str, str], ...]:
    """What lies where, for who watches which paths the plugin tries."""
    if plan.has_own_root:
        return places_of(plan.mounts)
    return places_of_rules(((_filled(path, scratch), right) for path, right in plan.rules), plan.mounts)


def _filled(text: str, scratch: Path | None) -> str:
    return text if scratch is None else text.replace(SCRATCH, str(scratch), 1)


def _staging(plan: Plan) -> dict[str, object]:
    """What is to be prepared before the walls are raised."""
    bound = [mount for mount in plan.mounts if mount.kind in {"read", "write"} and not _is_kernel_own(mount)]
    return {
        "owner": plan.staging.owner,
        "mapped": plan.staging.mapped,
        "sources": [mount.source for mount in bound] if plan.has_own_root else [],
        "writable": [mount.source for mount in bound if mount.kind == "write"],
        "overlays": [
            {
                "path": one.path,
                "upper": one.upper,
                "work": one.work,
                "size": one.size,
                "tag": overlay_tag(one.upper or plan.name),
            }
            for one in plan.staging.overlays
        ],
    }


def _is_kernel_own(mount: Mount) -> bool:
    """A part of /proc is the sandbox's own, and cannot be prepared before there is one."""
    return mount.source.startswith("/proc/")
