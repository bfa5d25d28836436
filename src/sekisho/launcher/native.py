"""Walls by our own system calls, for a host without bwrap: the same plan, the same reports.

Guarantees, before the program runs
- new user, process, mount, IPC, host name, control group and network namespaces; inside there is one user, and it may
  make no namespace of its own;
- a root of nothing but the plan's mounts (`mounts`);
- no capability, not even in the bounding set; no new privileges; the plan's Landlock rules, where the kernel has them,
  and its system call filter, loaded last;
- its first process is ours: it reaps, keeps one descriptor to tell the end, and its memory is closed to the plugin.

Two steps, because a process cannot enter a process namespace, only its next child can: `raise_walls` makes that child
the launcher's own, and goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
from typing import Any, Final, NoReturn

from sekisho.launcher.alarm import load, send_listener
from sekisho.launcher.calls import (
    capset_nothing,
    clone,
    drop_bounding_set,
    no_new_privileges,
    prctl,
    unshare,
)
from sekisho.launcher.kernel import close_others, entitle, libc, write
from sekisho.launcher.mounts import build
from sekisho.launcher.network import CLONE_NEWNET, hand_over, map_ids, open_gate_sockets, raise_loopback
from sekisho.launcher.program import Ends, Program, decoded, default_signals, mind, say
from sekisho.launcher.ruleset import abi, restrict

__all__ = ["INIT_NAME", "load_filter", "probe_walls", "raise_walls"]

INIT_NAME: Final = "sekisho-init"
INNER_ID: Final = 1000
HOST_NAME: Final = b"plugin"
CLONE_PARENT: Final = 0x8000
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
ALL_NAMESPACES: Final = 0x0002_0000 | 0x0200_0000 | 0x7C00_0000
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
EBUSY: Final = 16
TRIAL: Final = (
    {"kind": "read", "path": "/usr", "source": "/usr", "size": 0, "mode": ""},
    {"kind": "proc", "path": "/proc", "source": "", "size": 0, "mode": ""},
    {"kind": "dev", "path": "/dev", "source": "", "size": 0, "mode": ""},
)


def raise_walls(
    control: socket.socket, launch_id: int, request: dict[str, Any], theirs: list[int], ends: Ends
) -> NoReturn:
    """In a child of the launcher's: enter the namespaces, leave a first process in them, and go."""
    outer = os.geteuid(), os.getegid()
    is_apart = request.get("is_apart", False)
    unshare(ALL_NAMESPACES & ~(CLONE_NEWNET if is_apart else 0), "cannot make namespaces")
    map_ids((INNER_ID, INNER_ID), outer)
    with contextlib.suppress(OSError):  # a second lock: the filter forbids it as well
        write("/proc/sys/user/max_user_namespaces", "0")
    if not is_apart:
        raise_loopback()
    if request["network"]:
        hand_over(control, launch_id, open_gate_sockets())
    libc.sethostname(HOST_NAME, len(HOST_NAME))
    pid = clone(CLONE_PARENT | signal.SIGCHLD)
    if pid:
        say(ends.status, {"child-pid": pid})
        os._exit(0)
    be_first(request, theirs, ends)


def be_first(request: dict[str, Any], theirs: list[int], ends: Ends) -> NoReturn:
    """The first process of the inner world: raise every wall around ourselves, then start the program and mind it."""
    try:
        program = Program.of(request, theirs)
        prctl("parent", PR_SET_PDEATHSIG, signal.SIGKILL)
        close_others(program.fds | {ends.gate, ends.status, ends.failure})
        default_signals()
        data = decoded(request["data"])
        build(request["mounts"], data)
        entitle(INIT_NAME)
        name = ctypes.create_string_buffer(INIT_NAME.encode())
        prctl("name", PR_SET_NAME, ctypes.addressof(name))
        os.chdir(program.cwd)
        drop_bounding_set()
        no_new_privileges()
        version = abi()
        if version:
            restrict([(path, right) for path, right in request["rules"]], version, tcp=True)
        capset_nothing()
        prctl("dumpable", PR_SET_DUMPABLE, 0)
        gate = socket.socket(fileno=ends.gate)
        load_filter(data, gate)
    except (OSError, ValueError, KeyError) as error:
        os.write(ends.failure, str(error).encode()[:4000] or b"unknown")
        os._exit(1)
    os.close(ends.failure)
    if gate.recv(1) != b"x" or is_closed(gate):
        os._exit(1)
    gate.close()
    pid, complaint = program.start()
    os.dup2(program.stdio[2], 2)
    for fd in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    for fd in program.fds:
        os.close(fd)
    os.chdir("/")
    os._exit(mind(pid, complaint, ends.status))


def is_closed(gate: socket.socket) -> bool:
    """Whether the launcher is gone: one that died before we bound our life to its own cannot take us with it, and from
    in here nobody sees a parent.
    """
    try:
        return gate.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def probe_walls() -> None:
    """Try the namespaces and a root of our own once, for `sekisho doctor`; says nothing when they stand."""
    outer = os.geteuid(), os.getegid()
    try:
        unshare(ALL_NAMESPACES, "cannot make namespaces")
        map_ids((INNER_ID, INNER_ID), outer)
        raise_loopback()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        build(TRIAL, {})
        drop_bounding_set()
        capset_nothing()
    except OSError as error:
        os.write(1, str(error).encode())


def load_filter(data: dict[str, bytes], gate: socket.socket) -> None:
    """The last wall. The alarm's listener goes to the launcher; where none may be had, the silent filter stands."""
    if "alarm" in data:
        try:
            listener = load(data["alarm"], alarm=True)
        except OSError as error:
            if error.errno != EBUSY:
                raise
            listener = None
        send_listener(gate, listener)
        if listener is not None:
            return
    load(data["filter"], alarm=False)
