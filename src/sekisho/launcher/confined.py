"""Walls without namespaces, for a host that allows none: Landlock, a stricter system call filter, and a minder outside.

Guarantees, before the program runs
- files: only what the plan's Landlock rules give; system calls: only what the plan's filter gives, which here has no
  sockets but pairs, no System V objects, no message queues, no changes of files' modes and owners;
- no capability and no new privileges; a session of its own;
- the minder stands outside these walls: it adopts every orphan, and when the program ends, or it is told to end it, or
  the launcher is gone, it kills all that is left before it goes.

Does not give what only namespaces give: the plugin shares the host's process numbers and host name, and may ask whether
a path exists. `unsafe-none` is the same life without a wall.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any, Final, NoReturn

from sekisho.launcher.calls import capset_nothing, drop_bounding_set, no_new_privileges, prctl
from sekisho.launcher.kernel import close_others, tree
from sekisho.launcher.native import load_filter
from sekisho.launcher.program import Ends, Program, decoded, default_signals, mind, say
from sekisho.launcher.ruleset import abi, restrict
from sekisho.launcher.throttle import signal_below

__all__ = ["confine", "end_all_below"]

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
MAX_ROUNDS: Final = 10_000  # a fork bomb within its limit of processes is over after a few


class _LauncherGone(Exception):
    """The kernel says that our parent died."""


def confine(request: dict[str, Any], theirs: list[int], ends: Ends) -> NoReturn:
    """In a child of the launcher's: become the minder of one program, and leave when nothing of it is left."""
    program = Program.of(request, theirs)
    close_others(program.fds | {ends.gate, ends.status, ends.failure})
    prctl("subreaper", PR_SET_CHILD_SUBREAPER, 1)
    default_signals()
    signal.signal(signal.SIGTERM, _launcher_gone)
    prctl("parent", PR_SET_PDEATHSIG, signal.SIGTERM)
    minder = os.getpid()
    complaint, complain = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(complaint)
        enter(request, program, ends, complain, minder)
    for fd in (complain, ends.gate, ends.failure):
        os.close(fd)
    code = 1
    try:
        say(ends.status, {"child-pid": pid})
        os.dup2(program.stdio[2], 2)
        for fd in program.fds - {2}:
            os.close(fd)
        for fd in (0, 1):
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        code = mind(pid, complaint, ends.status)
    except _LauncherGone:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all_below(minder)
        os._exit(code)


def enter(request: dict[str, Any], program: Program, ends: Ends, complain: int, minder: int) -> NoReturn:
    """In the program's own process: raise the walls, wait at the gate, run it."""
    try:
        prctl("parent", PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != minder:
            os._exit(1)
        default_signals()
        data = decoded(request["data"])
        gate = socket.socket(fileno=ends.gate)
        os.chdir(program.cwd)
        if request["kind"] == "landlock":
            drop_bounding_set()
            no_new_privileges()
            version = abi()
            restrict([(path, right) for path, right in request["rules"]], version, tcp=False)
            capset_nothing()
            load_filter(data, gate)
    except (OSError, ValueError, KeyError, IndexError) as error:
        os.write(ends.failure, str(error).encode()[:4000] or b"unknown")
        os._exit(1)
    os.close(ends.failure)
    os.close(ends.status)
    if gate.recv(1) != b"x":
        os._exit(1)
    gate.close()
    program.become(complain, has_default_signals=True)


def end_all_below(root: int) -> None:
    """Kill and reap until this process has no child; whoever loses its parent meanwhile becomes one."""
    for _ in range(MAX_ROUNDS):
        below = [pid for pid in tree(root) if pid != root]
        # Who is stopped does not fork while we come for the others.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            signal_below(root, below, number)
        try:
            os.wait()
        except ChildProcessError:
            return


def _launcher_gone(number: int, frame: object) -> NoReturn:
    raise _LauncherGone
