"""The launcher's life: messages become children, and their ends become messages.

Guarantees
- it is warm: one per plugin server, started once, so a plugin costs a fork and not an interpreter;
- a child gets exactly its three pipes, an empty environment and default signals; no other descriptor passes;
- with a network, the gate's four sockets are opened inside the child's own network namespace and handed to
  the owner;
- "started" is reported only after every wall stands; a wall that fails is reported as "failed";
- nothing outlives it: it dies with its owner, and each child dies with it.

Knows no grant and no rule: it does what one message says. Messages are JSON over a SOCK_SEQPACKET pair; a launch
carries a memfd, three pipes and, for a plugin that is forked inside its walls, one end of a channel.
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
from typing import Final

from sekisho.launcher.children import (
    Child,
    end_first_process,
    end_inner,
    is_guarded,
    kill_tree,
    read_failure,
    set_limits_as,
    status_member,
    throttle_for,
)
from sekisho.launcher.kernel import close_others, die_with_parent, entitle, receive, resident, threads, tree
from sekisho.launcher.occupied import is_over
from sekisho.launcher.reserve import Expected, Reserve, read_request
from sekisho.launcher.watcher import Watcher, start_watcher

__all__ = ["ENTRY", "Launcher", "fork_off", "serve_owner"]

ENTRY: Final = __file__.removesuffix("serving.py") + "__main__.py"
SCRATCH_ROUNDS: Final = 5  # periods between two looks at a private folder
GUARD_PERIOD_S: Final = 0.05  # 20 Hz: a 400 MB hog passes 128 MB by less than a third


def fork_off() -> tuple[int, socket.socket]:
    """A launcher as a child of this process: its process and our end of its control socket.

    Call it before anything is opened or learned that a launcher must not have: it starts as a copy of us.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        ours.close()
        close_others({theirs.fileno()})
        entitle("python", "-I", "-S", ENTRY, str(theirs.fileno()), str(owner))
        null = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1):
            os.dup2(null, target)
        os.close(null)
        serve_owner(theirs, owner)
    finally:
        os._exit(0)


def serve_owner(control: socket.socket, owner: int) -> None:
    """Live as long as the owner does."""
    die_with_parent(owner)
    # Ctrl-C reaches the whole group; the owner decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Launcher(control).serve()


class Launcher:
    """Turns messages into children and their ends into messages."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, Child] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._reserve: Reserve | None = None
        self._expected: Expected | None = None
        self._guard_at = 0.0
        self._rounds = 0

    def serve(self) -> None:
        """Until the owner's end closes: then everything is killed."""
        try:
            while self._turn():
                pass
        finally:
            for child in self._children.values():
                kill_tree(child)

    def _turn(self) -> bool:
        guarded = any(map(is_guarded, self._children.values()))
        ready = {fd for fd, _ in self._poll.poll(GUARD_PERIOD_S * 1000 if guarded else None)}
        for child in list(self._children.values()):
            if child.watcher is not None and child.watcher.line.fileno() in ready:
                self._hear_watcher(child, child.watcher)
            if child.status_fd in ready:
                self._read_status(child)
            if not child.started and child.gate.fileno() in ready:
                self._gate_moved(child)
            if child.pidfd in ready:
                self._reap(child)
        if guarded and time.monotonic() >= self._guard_at:
            self._guard_at = time.monotonic() + GUARD_PERIOD_S
            self._guard()
        return self._receive() if self._control.fileno() in ready else True

    def _receive(self) -> bool:
        try:
            data, fds = receive(self._control)
        except ConnectionError:
            return False
        if not data:
            return False
        message = json.loads(data)
        match message["op"]:
            case "launch":
                try:
                    self._launch(message["id"], fds)
                except OSError as error:
                    self._tell(event="failed", id=message["id"], message=str(error))
                finally:
                    for fd in fds:
                        os.close(fd)
            case "expect":
                self._expected = Expected(message["kind"], message["program"])
                self._expect()
            case "kill" if message["id"] in self._children:
                kill_tree(self._children[message["id"]])
        return True

    def _launch(self, launch_id: int, fds: list[int]) -> None:
        reserve = self._told(launch_id, fds)
        request = read_request(fds[0])
        # Meanwhile the child works on its walls, and the watcher is ready before the first of them rings.
        watcher = start_watcher(request, reserve.gate) if "alarm" in request["data"] else None
        child = Child(
            id=launch_id,
            kind=request["kind"],
            pid=reserve.pid,
            pidfd=reserve.pidfd,
            gate=reserve.gate,
            status_fd=reserve.status,
            inner_rlimits=request["inner_rlimits"],
            guard_bytes=request["guard_bytes"],
            guard_pids=request["guard_pids"],
            guard_cpu_percent=request["guard_cpu_percent"],
            throttle=throttle_for(reserve.pid, request["guard_cpu_percent"]),
            owner=request["staging"]["owner"],
        )
        message = read_failure(reserve.failure)
        if message:
            if watcher is not None:
                watcher.dismiss()
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            if child.kind == "native":
                end_first_process(child)
            self._close(child)
            raise OSError(message)
        child.scratch, child.scratch_bytes = request.get("scratch", ""), request.get("scratch_bytes", 0)
        self._children[launch_id] = child
        if watcher is not None:
            self._install(child, watcher)
        for fd in (child.pidfd, child.status_fd, child.gate.fileno()):
            self._poll.register(fd, select.POLLIN)

    def _told(self, launch_id: int, fds: list[int]) -> Reserve:
        """A child that has its launch: the one that waited for it, or a new one."""
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            if reserve.tell(launch_id, fds):
                return reserve
            reserve.drop()
        reserve = Reserve.fork(self._control)
        reserve.tell(launch_id, fds)
        return reserve

    def _expect(self) -> None:
        """Have a child ready."""
        if self._reserve is None and self._expected is not None:
            self._reserve = Reserve.fork(self._control, self._expected)

    def _install(self, child: Child, watcher: Watcher) -> None:
        """Let it listen; where none may be had, the silent filter stands, and there is nothing to hear."""
        if not watcher.listens():
            watcher.dismiss()
            return
        child.watcher = watcher
        self._poll.register(watcher.line, select.POLLIN)

    def _read_status(self, child: Child) -> None:
        chunk = os.read(child.status_fd, 65536)
        if not chunk:
            self._poll.unregister(child.status_fd)
        child.status += chunk
        inner = status_member(child.status, "child-pid")
        if inner is not None and child.inner_pidfd is None:
            self._bound(child, inner)

    def _bound(self, child: Child, inner: int) -> None:
        """The inner world has its first process, which waits at the gate: give it its limits, then let it go
        on.
        """
        try:
            child.inner_pidfd = os.pidfd_open(inner)
            if child.kind == "bubblewrap":  # elsewhere the program lowers its own
                set_limits_as(child.owner, child.inner_rlimits, inner)
            if child.watcher is None:
                child.gate.send(b"x")
            else:
                child.watcher.let_go()  # who answers its calls must know whether the word has been given
            child.is_let_go = True
        except OSError as error:
            if child.inner_rlimits and not isinstance(error, (ProcessLookupError, BrokenPipeError)):
                sys.stderr.write(f"launcher: limits of a plugin were refused: {error}\n")
            kill_tree(child)

    def _gate_moved(self, child: Child) -> None:
        """bwrap reads the gate after its last mount; closing it unread means that it died before."""
        try:
            stands = child.gate.recv(1) == b"" and child.is_let_go
        except ConnectionError:
            stands = False
        self._poll.unregister(child.gate.fileno())
        if stands:
            child.started = True
            inner = status_member(child.status, "child-pid")
            self._tell(
                event="started", id=child.id, pid=inner if child.kind == "native" else child.pid, inner=inner
            )

    def _adopt(self, child: Child) -> bool:
        """Our own walls are raised by a process that leaves the first one inside to us, its parent's parent."""
        if child.kind != "native" or child.is_adopted:
            return False
        if child.inner_pidfd is None:
            self._read_status(child)  # it was written before its writer went
        inner = status_member(child.status, "child-pid")
        if inner is None:
            return False
        os.waitpid(child.pid, 0)
        self._poll.unregister(child.pidfd)
        os.close(child.pidfd)
        child.is_adopted = True
        child.pid, child.pidfd = inner, os.pidfd_open(inner)
        child.throttle = throttle_for(inner, child.guard_cpu_percent)
        self._poll.register(child.pidfd, select.POLLIN)
        return True

    def _reap(self, child: Child) -> None:
        if self._adopt(child):
            return
        _, status = os.waitpid(child.pid, 0)
        end_inner(child)
        while chunk := os.read(child.status_fd, 65536):
            child.status += chunk
        if child.started:
            told = status_member(child.status, "exit-code")
            code = os.waitstatus_to_exitcode(status) if told is None or child.kind == "bubblewrap" else told
            self._finish_watcher(child)
            self._tell(
                event="exit",
                id=child.id,
                code=code,
                ran=told is not None,
                exceeded=child.exceeded,
                full=child.is_full,
            )
        else:
            self._tell(event="failed", id=child.id, message="")
        del self._children[child.id]
        for fd in (child.pidfd, child.status_fd, child.gate.fileno()):
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)
        self._close(child)
        if not self._children:  # whoever ended may be started again
            self._expect()

    def _close(self, child: Child) -> None:
        child.gate.close()
        self._finish_watcher(child)
        for fd in (child.pidfd, child.status_fd, child.inner_pidfd):
            if fd is not None:
                os.close(fd)

    def _hear_watcher(self, child: Child, watcher: Watcher) -> None:
        """What its watcher tells. One that is gone before its time leaves a plugin that can open nothing: it ends."""
        told = watcher.hear()
        if told is None:
            self._poll.unregister(watcher.line)
            if not watcher.is_done:
                kill_tree(child)
        for message in told or ():
            self._tell(**message, id=child.id)

    def _finish_watcher(self, child: Child) -> None:
        """The last it tells, before the end of its plugin is told."""
        watcher, child.watcher = child.watcher, None
        if watcher is not None:
            with contextlib.suppress(KeyError):
                self._poll.unregister(watcher.line)
            for message in watcher.finish():
                self._tell(**message, id=child.id)

    def _guard(self) -> None:
        self._rounds += 1
        for child in self._children.values():
            if (
                child.scratch
                and not self._rounds % SCRATCH_ROUNDS
                and is_over(child.scratch, child.scratch_bytes)
            ):
                child.is_full = True
                kill_tree(child)
            members = list(tree(child.pid)) if is_guarded(child) else []
            if child.throttle is not None and child.started:
                child.throttle.turn(members, time.monotonic())
            if child.guard_pids and sum(map(threads, members)) > child.guard_pids:
                kill_tree(child)  # RLIMIT_NPROC says nothing to root, so we count as well
            elif child.guard_bytes and sum(map(resident, members)) > child.guard_bytes:
                child.exceeded = True
                kill_tree(child)

    def _tell(self, **message: object) -> None:
        with contextlib.suppress(ConnectionError):  # an owner that is gone is noticed at the next receive
            self._control.send(json.dumps(message).encode())
