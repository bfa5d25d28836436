"""How the workers of one core talk: one datagram each, over Unix sockets in the run folder.

Guarantees that only processes of our own user are heard (the folder and the sockets are ours, and the kernel names
the sender of every datagram), that nobody waits for anybody, and that a worker which does not read costs the others
a bounded queue. A message may be lost with its receiver; what must not be lost is said again by its sender
(`leader`). Knows what is said, not what it means.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from sekisho.errors import Misconfigured

__all__ = [
    "Cancelled",
    "Crowded",
    "Drained",
    "Look",
    "Mates",
    "Message",
    "Open",
    "Replaced",
    "Said",
    "Serving",
]

MAX_MESSAGE_BYTES: Final = 32 << 10  # a request id longer than this cannot be cancelled at another worker
MAX_QUEUED: Final = 1024  # for a worker that does not read
RETRY_S: Final = 0.005
_READS_PER_TURN: Final = 64  # calls must not wait for a flood of messages
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), struct ucred


class Open(msgspec.Struct, frozen=True, tag=True):
    """The leader: this is the port, calls may be taken. Said again every second."""

    port: int


class Serving(msgspec.Struct, frozen=True, tag=True):
    """A worker: I take calls."""

    worker: int


class Look(msgspec.Struct, frozen=True, tag=True):
    """The leader: what was approved has changed, read it now."""


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """A client withdrew a request that may be under way elsewhere."""

    client: str
    session: str
    request: int | str


class Said(msgspec.Struct, frozen=True, tag=True):
    """What the person behind a client said to a question that another process may have asked."""

    ask: str
    scope: str
    said_yes: bool


class Drained(msgspec.Struct, frozen=True, tag=True):
    """A worker: nothing of mine is under way at this plugin any more, and I wait."""

    worker: int
    plugin: str


class Replaced(msgspec.Struct, frozen=True, tag=True):
    """The leader: go to the new server of this plugin."""

    plugin: str


class Crowded(msgspec.Struct, frozen=True, tag=True):
    """A worker: the house is full, and nothing of mine may be ended; whoever has something may make room."""


Message = Open | Serving | Look | Cancelled | Said | Drained | Replaced | Crowded


class Mates:
    """One worker's socket, and the paths of the others."""

    def __init__(self, folder: Path, worker: int, workers: int, take: Callable[[Message], None]) -> None:
        self._folder = folder
        self._worker = worker
        self._others = tuple(number for number in range(workers) if number != worker)
        self._take = take
        self._socket: socket.socket | None = None
        self._queues: dict[int, deque[bytes]] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._decoder = msgspec.json.Decoder(Message)
        self.unheard = 0

    @property
    def others(self) -> Iterable[int]:
        """The numbers of the other workers."""
        return self._others

    def open(self) -> None:
        """Listen, inside the running event loop."""
        path = self._path(self._worker)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)  # our predecessor's; its place is ours (`SharedMemory`)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            sock.bind(os.fspath(path))
            path.chmod(0o600)
        except OSError as error:
            sock.close()
            raise Misconfigured(
                "config_invalid", f"{path} cannot be made: {error.strerror}", remedy="mend the run folder"
            ) from error
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)

    def close(self) -> None:
        """Hear and say nothing more."""
        if self._retry is not None:
            self._retry.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def tell(self, worker: int, message: Message) -> None:
        """Say something to one worker, now or as soon as it reads."""
        data = msgspec.json.encode(message)
        queue = self._queues.get(worker)
        if len(data) > MAX_MESSAGE_BYTES or (queue is not None and len(queue) >= MAX_QUEUED):
            self.unheard += 1
        elif queue is not None or not self._send(worker, data):
            self._queues.setdefault(worker, deque()).append(data)
            if self._retry is None:
                self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._send_queued)

    def tell_all(self, message: Message) -> None:
        """Say something to every other worker."""
        for worker in self._others:
            self.tell(worker, message)

    def _send(self, worker: int, data: bytes) -> bool:
        """False when it has to be tried again; a worker that is not there has no calls and needs no word."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(data, os.fspath(self._path(worker)))
        except BlockingIOError:
            return False
        except OSError:
            self.unheard += 1
        return True

    def _send_queued(self) -> None:
        self._retry = None
        for worker, queue in tuple(self._queues.items()):
            while queue and self._send(worker, queue[0]):
                queue.popleft()
            if not queue:
                del self._queues[worker]
        if self._queues:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._send_queued)

    def _read(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._socket is None:
                return
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    MAX_MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            if not _is_ours(ancillary):
                self.unheard += 1
                continue
            with suppress(msgspec.MsgspecError):  # a worker of another version
                self._take(self._decoder.decode(data))

    def _path(self, worker: int) -> Path:
        return self._folder / f"core-{worker}.sock"


def _is_ours(ancillary: Iterable[tuple[int, int, bytes]]) -> bool:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) >= _CREDENTIALS.size:
            uid: int = _CREDENTIALS.unpack_from(data)[1]
            return uid == os.getuid()
    return False
