"""A network namespace with nothing in it but a loopback, and the gate's four sockets on it."""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from typing import Final

from sekisho.launcher.kernel import libc, write

__all__ = ["enter_network", "hand_over", "map_ids", "open_gate_sockets", "probe_network", "raise_loopback"]

CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1
BACKLOG: Final = 128  # connections that may wait while the gate is busy

# Where the gate listens inside; any 127.x.y.z reaches the last three, so that an address can stand for a
# name.
GATE_SOCKETS: Final = (
    (socket.SOCK_STREAM, "127.0.0.1", 3128),
    (socket.SOCK_STREAM, "0.0.0.0", 443),
    (socket.SOCK_STREAM, "0.0.0.0", 80),
    (socket.SOCK_DGRAM, "127.0.0.1", 53),
)


def enter_network() -> None:
    """A network namespace of our own with nothing in it but a loopback."""
    if libc.unshare(CLONE_NEWNET) != 0:  # an ordinary user, or a root that lacks the right to
        ids = os.geteuid(), os.getegid()
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, "cannot make a network namespace: " + os.strerror(number))
        map_ids(ids, ids)
    raise_loopback()


def map_ids(inner: tuple[int, int], outer: tuple[int, int]) -> None:
    """In a new user namespace: one user and one group, and no others."""
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{inner[0]} {outer[0]} 1")
    write("/proc/self/gid_map", f"{inner[1]} {outer[1]} 1")


def raise_loopback() -> None:
    """Bring lo up, the only interface of a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = bytearray(struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(probe, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", request, 16)
        struct.pack_into("h", request, 16, flags | IFF_UP)
        fcntl.ioctl(probe, SIOCSIFFLAGS, request)


def open_gate_sockets() -> list[socket.socket]:
    """The four doors of the gate, in the order of the hand-off: proxy, 443, 80, names."""
    doors = []
    for kind, host, port in GATE_SOCKETS:
        door = socket.socket(socket.AF_INET, kind)
        door.bind((host, port))
        if kind == socket.SOCK_STREAM:
            door.listen(BACKLOG)
        doors.append(door)
    return doors


def hand_over(control: socket.socket, launch_id: int, doors: list[socket.socket]) -> None:
    """Give the doors to the owner; our own copies close with the exec."""
    payload = json.dumps({"event": "sockets", "id": launch_id}).encode()
    fds = array.array("i", [door.fileno() for door in doors])
    control.sendmsg([payload], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def probe_network() -> None:
    """Try the network wall once, for `sekisho doctor`; says nothing when it stands."""
    try:
        enter_network()
        for door in open_gate_sockets():
            door.close()
    except OSError as error:
        sys.stdout.write(str(error))
