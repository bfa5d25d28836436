"""A child that was forked before anybody asked for it, and waits for the one launch it will carry out.

Guarantees
- it knows nothing and holds nothing but its own ends until it is told: what another plugin's walls are made of stays
  with the launcher;
- it goes with the launcher, and when its line closes;
- what is told it is told once; a reserve that is gone by then is found out, and another is forked;
- a network of its own is nobody's but its plugin's: no two launches ever share one.

It costs no memory beside a running plugin: the launcher keeps one only while it has no child. It is worth a fork of an
interpreter and the pages that both then have to copy, which is two milliseconds of a start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from typing import Final, NamedTuple, NoReturn

from sekisho.launcher.child import become, beyond_reach
from sekisho.launcher.kernel import close_others, die_with_parent, memory_file, receive
from sekisho.launcher.mounts import devices_of_host, fresh, furnish
from sekisho.launcher.network import enter_network
from sekisho.launcher.program import Ends, default_signals
from sekisho.launcher.request import read_request

__all__ = ["Expected", "Reserve"]

REHEARSED: Final = [
    {"kind": "link", "path": "/bin", "source": "usr/bin", "size": 0, "mode": ""},
    {"kind": "file", "path": "/a/b", "source": "", "size": 0, "mode": "0444"},
    {"kind": "tmpfs", "path": "/t", "source": "", "size": 4096, "mode": "1777"},
    {"kind": "dev", "path": "/dev", "source": "", "size": 0, "mode": ""},
]
APART: Final = ("bubblewrap", "native")  # walls with a network of their own, whatever is asked


class Expected(NamedTuple):
    """What the owner said it will ask for: the kind of walls, and the program that raises them, if there is one."""

    kind: str = ""
    program: str = ""


NOTHING: Final = Expected()


class Reserve(NamedTuple):
    """The launcher's ends of one waiting child."""

    pid: int
    pidfd: int
    line: socket.socket
    gate: socket.socket
    status: int
    failure: int

    @classmethod
    def fork(cls, control: socket.socket, expected: Expected = NOTHING) -> Reserve:
        """A child that waits, and makes ready for what is expected meanwhile."""
        line, inner_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gate, inner_gate = socket.socketpair()
        status, inner_status = os.pipe()
        failure, inner_failure = os.pipe()
        launcher = os.getpid()
        pid = os.fork()
        if pid == 0:
            ends = Ends(gate=inner_gate.fileno(), status=inner_status, failure=inner_failure)
            wait(launcher, control, inner_line, ends, expected)
        for inner in (inner_line, inner_gate):
            inner.close()
        for fd in (inner_status, inner_failure):
            os.close(fd)
        # The pidfd is taken before anything can reap the child, so it names this child for ever.
        return cls(pid, os.pidfd_open(pid), line, gate, status, failure)

    def tell(self, launch_id: int, fds: list[int]) -> bool:
        """Hand it its launch; False when it is gone."""
        try:
            socket.send_fds(self.line, [str(launch_id).encode()], fds)
        except ConnectionError:
            return False
        self.line.close()
        return True

    def drop(self) -> None:
        """Let it go without a launch."""
        for end in (self.line, self.gate):
            end.close()
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in (self.pidfd, self.status, self.failure):
            os.close(fd)


def wait(
    launcher: int, control: socket.socket, line: socket.socket, ends: Ends, expected: Expected
) -> NoReturn:
    """In the child: until it is told, or until there is nobody any more to tell it."""
    try:
        held = {control.fileno(), line.fileno(), ends.gate, ends.status, ends.failure}
        close_others(held)
        die_with_parent(launcher)
        is_apart = expected.kind in APART and is_alone(launcher)
        if expected.kind:
            rehearse()
        copy = Copy.of(expected.program)
        close_others(held if copy is None else {*held, copy.fd})  # what the rehearsal opened goes
        told, fds = receive(line)
        if not told:
            os._exit(0)
        line.close()
        request = read_request(fds[0])
        if copy is not None and copy.is_of(request.get("program", "")):
            request["copy"] = copy.fd
        become(control, int(told), request, fds[1:], ends, is_apart=is_apart)
    finally:
        os._exit(127)


def is_alone(launcher: int) -> bool:
    """Make a network of our own, which is half of what all namespaces cost; whether it was to be had."""
    try:
        enter_network()
    except OSError:  # whoever raises the walls will try again, and say so
        return False
    die_with_parent(launcher)  # new credentials clear the request
    return True


class Copy(NamedTuple):
    """A program out of everybody's reach, and what it was when it was copied."""

    path: str
    identity: tuple[int, ...]
    fd: int

    @classmethod
    def of(cls, path: str) -> Copy | None:
        """A copy, where one is needed."""
        try:
            identity = identity_of(path)
            copy = beyond_reach(path)
        except OSError:  # whoever wants to run it will say so
            return None
        return cls(path, identity, copy) if isinstance(copy, int) else None

    def is_of(self, path: str) -> bool:
        """Whether this program is still the one that was copied."""
        try:
            return path == self.path and identity_of(path) == self.identity
        except OSError:  # gone
            return False


def identity_of(path: str) -> tuple[int, ...]:
    """What changes when a file is written or replaced."""
    found = os.stat(path)  # noqa: PTH116 - pathlib is not imported here
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def rehearse() -> None:
    """Do once, and undo, what a launch does: the pages that this writes to are our own copies afterwards."""
    default_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the whole group: it means our owner
    with contextlib.suppress(OSError):
        request = read_request(memory_file(json.dumps({"mounts": REHEARSED}).encode()))
        devices = devices_of_host()
        folder = fresh("tmpfs", {"size": "65536", "mode": "0755"}, 0)
        furnish(
            folder, request["mounts"], {}, {"/a/b": b"x"}, devices
        )  # before Linux 6.15 it ends at the first mount
