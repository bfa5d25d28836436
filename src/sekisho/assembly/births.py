"""What `up` and the nursery say to each other: one message each, and the descriptors that come with it.

Guarantees that a message is one of these or an error, and that no descriptor of it survives an exec. Imports little,
because `up` speaks before it has read anything.
"""

from __future__ import annotations

import array
import socket
from collections.abc import Sequence
from typing import Final

import msgspec

__all__ = ["NO_ORDERS", "Born", "Contents", "Ended", "Failed", "Job", "Message", "receive", "send"]

MAX_BYTES: Final = 64 << 10  # an environment travels in a memory file
MAX_FDS: Final = 2
NO_ORDERS: Final = msgspec.Raw(b"null")


class Job(msgspec.Struct, frozen=True):
    """What one child is to be: the words after its parent's number. Brings its letter and its output."""

    id: int
    arguments: tuple[str, ...]


class Contents(msgspec.Struct, frozen=True):
    """What a child's letter says: its environment, and a plugin server's orders (`orders`)."""

    environment: dict[str, str]
    orders: msgspec.Raw = NO_ORDERS


class Born(msgspec.Struct, frozen=True, tag="born"):
    """A child runs; brings its pidfd."""

    id: int
    pid: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The kernel refused a fork."""

    id: int
    reason: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A child has ended, with a status in the way of `subprocess`."""

    id: int
    status: int


Message = Born | Ended | Failed


def send(control: socket.socket, message: Job | Message, fds: Sequence[int] = ()) -> None:
    """One message with its descriptors, which stay ours to close."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    control.sendmsg([msgspec.json.encode(message)], rights)


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; nothing when the other end is gone."""
    room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    try:
        data, extras, _, _ = control.recvmsg(MAX_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return b"", []
    fds = array.array("i")
    for level, kind, content in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist()
