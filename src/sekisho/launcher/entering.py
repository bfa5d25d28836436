"""Opens the gate's sockets in the network of a container: `python -I -S <this file> PID FD`.

The container has a network namespace of its own with nothing in it; its first process names it. Without root, the user
namespace that owns it is entered first, which only its owner can. The sockets go out through the descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys

if __name__ == "__main__":
    sys.path.append(__file__.removesuffix("/sekisho/launcher/entering.py"))

from sekisho.launcher.calls import call
from sekisho.launcher.network import CLONE_NEWNET, CLONE_NEWUSER, hand_over, open_gate_sockets, raise_loopback

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Enter, open, hand over; returns the exit status, 1 with one line of why."""
    pid, control = int(arguments[0]), socket.socket(fileno=int(arguments[1]))
    try:
        network = open_namespace(pid, "net")  # before we are somebody else, who may not look at the process
        if os.geteuid() != 0:
            enter(open_namespace(pid, "user"), CLONE_NEWUSER)
        enter(network, CLONE_NEWNET)
        with contextlib.suppress(PermissionError):  # up already, where the engine did it
            raise_loopback()
        hand_over(control, 0, open_gate_sockets())
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def open_namespace(pid: int, name: str) -> int:
    """One namespace of a process; never our own, where the doors would open on the host's network.

    Raises:
        OSError: it may not be looked at, or a process of the host has the container's number by now.
    """
    path = f"/proc/{pid}/ns/{name}"
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if os.path.samestat(os.fstat(fd), os.stat(f"/proc/self/ns/{name}")):  # noqa: PTH116
        os.close(fd)
        raise OSError(errno.ESRCH, f"{path} is the host's own")
    return fd


def enter(namespace: int, kind: int) -> None:
    """Join it, and close its descriptor.

    Raises:
        OSError: it may not be joined.
    """
    try:
        call("setns", namespace, kind)
    finally:
        os.close(namespace)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
