"""The launcher's life: messages become children, and their ends become messages.

Guarantees
- it is warm: one per plugin server, started once, so a plugin costs a fork and not an interpreter;
- a child gets exactly its three pipes, an empty environment and default signals; no other descriptor passes;
- with a network, the gate's four sockets are opened inside the child's own network namespace and handed to
  the owner;
- "started" is reported only after every wall stands; a wall that fails is reported as "failed";
- nothing outlives it: it dies with its owner, and each child dies with it.

Knows no grant and no rule: it does what one message says. Messages are JSON over a SOCK_SEQPACKET pair; a launch
says what a child's life is bound by, and carries a memfd (`request`), three pipes and, for a plugin that is forked inside
its walls, one end of a channel.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, Final

import sekisho.launcher
from sekisho.launcher.births import Births
from sekisho.launcher.children import (
    Child,
    end_inner,
    kill_tree,
    set_limits_as,
    status_member,
    throttle_for,
)
from sekisho.launcher.farewells import Farewells
from sekisho.launcher.forking import AT_FORK
from sekisho.launcher.guard import Guard
from sekisho.launcher.kernel import close_others, die_with_parent, entitle, receive
from sekisho.launcher.reserve import Expected
from sekisho.launcher.standby import Standby
from sekisho.launcher.watcher import Watcher

__all__ = ["ENTRY", "Launcher", "fork_off", "serve_owner"]

ENTRY: Final = sekisho.launcher.__path__[0] + "/__main__.py"  # compiled, this module has no place of its own
LATER_S: Final = 0.01  # two forks and the end of a process take two milliseconds of a processor


def fork_off() -> tuple[int, socket.socket]:
    """A launcher as a child of this process: its process and our end of its control socket.

    Call it before anything is opened or learned that a launcher must not have: it starts as a copy of us.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = os.getpid()
    pid = AT_FORK.fork_bare()
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
        self._births = Births(self._poll, self._fail)
        self._farewells = Farewells(self._poll, self._send, self._leave)
        self._standby = Standby(control, self._farewells.dismiss)
        self._guard = Guard(self._children, lambda child: self._tell(event="crowded", id=child.id))
        self._tidy_at: float | None = None

    def serve(self) -> None:
        """Until the owner's end closes: then everything is killed."""
        gc.freeze()  # a collection writes to whatever it looks at, and each process of ours would have its own copy
        try:
            while self._turn():
                pass
        finally:
            for child in self._children.values():
                kill_tree(child)

    def _turn(self) -> bool:
        ready = {fd for fd, _ in self._poll.poll(self._wait_ms())}
        now = time.monotonic()
        for child in list(self._children.values()):
            self._attend(child, ready)
        for child in self._births.attend(ready, now):
            self._stands(child)
        self._farewells.attend(ready, now)
        if self._tidy_at is not None and now >= self._tidy_at:
            self._tidy()
        self._guard.attend(now)
        return self._receive() if self._control.fileno() in ready else True

    def _wait_ms(self) -> float | None:
        """Until something is due, whoever says nothing."""
        due = (self._births.due_at, self._farewells.due_at, self._guard.due_at, self._tidy_at)
        wait_s = [max(0.0, at - time.monotonic()) for at in due if at is not None]
        return min(wait_s) * 1000 + 1 if wait_s else None

    def _attend(self, child: Child, ready: set[int]) -> None:
        if child.watcher is not None and child.watcher.line.fileno() in ready:
            self._hear_watcher(child, child.watcher)
        if child.status_fd in ready:
            self._read_status(child)
        if not child.started and child.gate.fileno() in ready:
            self._gate_moved(child)
        if child.pidfd in ready:
            self._reap(child)

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
                    self._launch(message["id"], message["life"], fds)
                except OSError as error:
                    self._tell(event="failed", id=message["id"], message=str(error))
                finally:
                    for fd in fds:
                        os.close(fd)
            case "expect":
                self._standby.expect(Expected(message["kind"], message["program"]))
                self._fork_ahead()
            case "kill" if message["id"] in self._children:
                kill_tree(self._children[message["id"]])
            case "kill":
                self._births.kill(message["id"])
        return True

    def _launch(self, launch_id: int, life: dict[str, Any], fds: list[int]) -> None:
        """Hand it to a child and to a watcher, which work on it beside each other; what becomes of it is heard later."""
        reserve = self._standby.child(launch_id, fds)
        watcher = self._standby.watcher(fds[0], reserve.gate) if life["alarm"] else None
        self._births.begin(
            Child(
                id=launch_id,
                kind=life["kind"],
                pid=reserve.pid,
                pidfd=reserve.pidfd,
                gate=reserve.gate,
                status_fd=reserve.status,
                failure=reserve.failure,
                watcher=watcher,
                inner_rlimits=life["inner_rlimits"],
                guard_bytes=life["guard_bytes"],
                guard_pids=life["guard_pids"],
                guard_cpu_percent=life["guard_cpu_percent"],
                throttle=throttle_for(reserve.pid, life["guard_cpu_percent"]),
                owner=life["owner"],
                scratch=life["scratch"],
                scratch_bytes=life["scratch_bytes"],
            )
        )

    def _leave(self) -> None:
        """One has ended, and its owner has been told: what costs processor time waits until it has heard."""
        self._tidy_at = time.monotonic() + LATER_S

    def _tidy(self) -> None:
        self._tidy_at = None
        self._farewells.tidy()
        self._fork_ahead()

    def _fork_ahead(self) -> None:
        """While nobody runs: whoever ended may be started again."""
        if not (self._children or self._births):
            self._standby.fork()

    def _stands(self, child: Child) -> None:
        """All its walls do but those that bwrap raises; where no listener may be had, the silent filter stands."""
        if child.watcher is not None and not child.watcher.listens:
            self._farewells.dismiss(child.watcher)
            child.watcher = None
        self._children[child.id] = child
        for message in child.told:
            self._pass_on(child, message)
        for fd in (child.pidfd, child.status_fd, child.gate.fileno()):
            self._poll.register(fd, select.POLLIN)

    def _fail(self, child: Child) -> None:
        """Its walls do not stand, and it is dead and reaped."""
        self._close(child)
        self._tell(event="failed", id=child.id, message=child.complaint)
        self._leave()

    def _read_status(self, child: Child) -> None:
        chunk = os.read(child.status_fd, 65536)
        if not chunk:
            with contextlib.suppress(KeyError):  # it is read twice of whoever was killed before a word
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
            if child.is_unwanted:
                kill_tree(child)
                return
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
            stands = child.gate.recv(1) == b"" and child.is_let_go and not child.complaint
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
        del self._children[child.id]
        for fd in (child.pidfd, child.status_fd, child.gate.fileno()):
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)
        if not child.started:
            self._fail(child)
            return
        told = status_member(child.status, "exit-code")
        code = os.waitstatus_to_exitcode(status) if told is None or child.kind == "bubblewrap" else told
        end = {"event": "exit", "id": child.id, "code": code, "ran": told is not None}
        watcher, child.watcher = child.watcher, None
        self._close(child)
        self._farewells.end(watcher, end | {"exceeded": child.exceeded, "full": child.is_full})

    def _close(self, child: Child) -> None:
        child.gate.close()
        watcher, child.watcher = child.watcher, None
        if watcher is not None:
            self._farewells.dismiss(watcher)
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
            self._pass_on(child, message)

    def _pass_on(self, child: Child, message: dict[str, Any]) -> None:
        """To the owner; or its walls do not stand, which is told before the gate closes, and never "started"."""
        if message["event"] == "uncovered":
            child.complaint = message["message"]
            kill_tree(child)
        else:
            self._tell(**message, id=child.id)

    def _tell(self, **message: object) -> None:
        self._send(message)

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):  # an owner that is gone is noticed at the next receive
            self._control.send(json.dumps(message).encode())
