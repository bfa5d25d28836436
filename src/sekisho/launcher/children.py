"""What the launcher knows of one child, and the few things it does to it: limits, watcher, guard, end.

Guarantees that whoever is killed is named by a descriptor that was taken before it could be anybody else, and that
nothing here waits longer than its bound. Hears no message and decides nothing: `serving` does, as its owner says.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, Final

from sekisho.launcher.kernel import set_limit
from sekisho.launcher.throttle import Throttle
from sekisho.launcher.watcher import Watcher

__all__ = [
    "Child",
    "end_first_process",
    "end_inner",
    "is_guarded",
    "kill_tree",
    "set_limits_as",
    "status_member",
    "throttle_for",
]

END_S: Final = 2.0  # killing a process namespace takes milliseconds


class Child:
    """One plugin's outermost process and the world below it."""

    def __init__(
        self,
        *,
        id: int,  # noqa: A002 - the word of the messages
        kind: str,
        pid: int,
        pidfd: int,
        gate: socket.socket,
        status_fd: int,
        inner_rlimits: dict[str, int],
        guard_bytes: int,
        guard_pids: int,
        guard_cpu_percent: int,
        throttle: Throttle | None,
        owner: int | None = None,
        failure: int = -1,
        watcher: Watcher | None = None,
        scratch: str = "",
        scratch_bytes: int = 0,
    ) -> None:
        self.id = id
        self.kind = kind
        self.pid = pid
        self.pidfd = pidfd
        self.gate = gate
        self.status_fd = status_fd
        self.inner_rlimits = inner_rlimits
        self.guard_bytes = guard_bytes
        self.guard_pids = guard_pids
        self.guard_cpu_percent = guard_cpu_percent
        self.throttle = throttle
        self.owner = owner
        self.failure = failure
        self.watcher = watcher
        self.scratch = scratch
        self.scratch_bytes = scratch_bytes
        self.is_raised = False
        self.is_unwanted = False
        self.complaint = ""
        self.told: list[dict[str, Any]] = []
        self.due_at = 0.0
        self.is_full = False
        self.is_crowded = False
        self.started = False
        self.exceeded = False
        self.is_adopted = False
        self.is_let_go = False
        self.inner_pidfd: int | None = None
        self.status = b""


def is_readable(fd: int, wait_s: float) -> bool:
    """Whether something is there in time; select(2) would know no descriptor beyond 1023."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(wait_s * 1000))


def set_limits_as(owner: int | None, limits: dict[str, int], pid: int) -> None:
    """Lower limits of a process; those of another user's are lowered as that user, since root may lack the right to.

    Raises:
        OSError: they were refused.
    """
    if owner is None:
        for name, value in limits.items():
            set_limit(name, value, pid)
        return
    helper = os.fork()
    if helper == 0:
        try:
            os.setresgid(owner, owner, owner)
            os.setresuid(owner, owner, owner)
            set_limits_as(None, limits, pid)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    refused = os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1])
    if refused:
        raise OSError(abs(refused), os.strerror(abs(refused)))


def is_guarded(child: Child) -> bool:
    """True for a child whose tree is watched, because no control group holds it."""
    return bool(child.guard_bytes or child.guard_pids or child.throttle or child.scratch)


def throttle_for(root: int, percent: int) -> Throttle | None:
    """The throttle of a tree; none where a control group holds its share, or where its share is all there is."""
    if not percent or percent >= 100 * (os.cpu_count() or 1):
        return None
    return Throttle(root, percent, time.monotonic())


def kill_tree(child: Child) -> None:
    """Kill the first process of the inner world: the kernel then kills all others, or its minder does, before it can
    be reaped.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(child.inner_pidfd or child.pidfd, signal.SIGKILL)


def end_first_process(child: Child) -> None:
    """A first process that was left to us, and whose walls do not stand; written before its writer went, or never."""
    if not is_readable(child.status_fd, 0):
        return
    inner = status_member(os.read(child.status_fd, 65536), "child-pid")
    if inner is not None:
        os.kill(inner, signal.SIGKILL)
        os.waitpid(inner, 0)


def end_inner(child: Child) -> None:
    """bwrap goes as soon as the plugin's first process does; what that one left behind goes before we
    report.
    """
    if child.inner_pidfd is not None:
        kill_tree(child)
        if not is_readable(child.inner_pidfd, END_S):
            sys.stderr.write(f"launcher: the world of process {child.pid} does not end\n")


def status_member(status: bytes, name: str) -> int | None:
    """One number of bwrap's status lines, once its line is complete."""
    for line in status.split(b"\n")[:-1]:
        value = json.loads(line).get(name)
        if isinstance(value, int):
            return value
    return None
