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
from typing import Any, Final, NamedTuple, NoReturn

from sekisho.launcher.child import become
from sekisho.launcher.kernel import close_others, die_with_parent, memory_file, receive
from sekisho.launcher.mounts import devices_of_host, fresh, furnish
from sekisho.launcher.network import enter_network
from sekisho.launcher.program import Ends

__all__ = ["MAX_REQUEST_BYTES", "Reserve", "read_request"]

MAX_REQUEST_BYTES: Final = 16 << 20
REHEARSED: Final = [
    {"kind": "link", "path": "/bin", "source": "usr/bin", "size": 0, "mode": ""},
    {"kind": "file", "path": "/a/b", "source": "", "size": 0, "mode": "0444"},
    {"kind": "tmpfs", "path": "/t", "source": "", "size": 4096, "mode": "1777"},
    {"kind": "dev", "path": "/dev", "source": "", "size": 0, "mode": ""},
]
APART: Final = ("bubblewrap", "native")  # walls with a network of their own, whatever is asked


class Reserve(NamedTuple):
    """The launcher's ends of one waiting child."""

    pid: int
    pidfd: int
    line: socket.socket
    gate: socket.socket
    status: int
    failure: int

    @classmethod
    def fork(cls, control: socket.socket, kind: str = "") -> Reserve:
        """A child that waits; `kind` is of the walls that will probably be asked of it, where that is known."""
        line, inner_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gate, inner_gate = socket.socketpair()
        status, inner_status = os.pipe()
        failure, inner_failure = os.pipe()
        launcher = os.getpid()
        pid = os.fork()
        if pid == 0:
            ends = Ends(gate=inner_gate.fileno(), status=inner_status, failure=inner_failure)
            wait(launcher, control, inner_line, ends, kind)
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


def wait(launcher: int, control: socket.socket, line: socket.socket, ends: Ends, kind: str) -> NoReturn:
    """In the child: until it is told, or until there is nobody any more to tell it."""
    try:
        held = {control.fileno(), line.fileno(), ends.gate, ends.status, ends.failure}
        close_others(held)
        die_with_parent(launcher)
        is_apart = kind in APART and is_alone()
        if is_apart:
            die_with_parent(launcher)  # new credentials clear the request
        if kind:
            rehearse()
        close_others(held)  # what the rehearsal opened
        told, fds = receive(line)
        if not told:
            os._exit(0)
        line.close()
        become(control, int(told), read_request(fds[0]), fds[1:], ends, is_apart=is_apart)
    finally:
        os._exit(127)


def is_alone() -> bool:
    """Make a network of our own, which is half of what all namespaces cost; whether it was to be had."""
    try:
        enter_network()
    except OSError:  # whoever raises the walls will try again, and say so
        return False
    return True


def rehearse() -> None:
    """Do once, and undo, what a launch does: the pages that this writes to are our own copies afterwards."""
    with contextlib.suppress(OSError):
        request = read_request(memory_file(json.dumps({"mounts": REHEARSED}).encode()))
        devices = devices_of_host()
        folder = fresh("tmpfs", {"size": "65536", "mode": "0755"}, 0)
        furnish(
            folder, request["mounts"], {}, {"/a/b": b"x"}, devices
        )  # before Linux 6.15 it ends at the first mount


def read_request(fd: int) -> dict[str, Any]:
    """The words of a launch, from the memory they lie in."""
    size = min(os.fstat(fd).st_size, MAX_REQUEST_BYTES)
    request: dict[str, Any] = json.loads(os.pread(fd, size, 0))
    return request
