"""Bytes in and out of one connection: bounded reads with a look ahead.

Thin hands over a non-blocking socket; decides nothing. Every read waits for its plugin's share of the process
(`share`), every write for the other side, so nothing piles up in memory.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from sekisho.egress.share import Share
from sekisho.errors import Refused

__all__ = ["IDLE_TIMEOUT_S", "MAX_AHEAD_BYTES", "OPENING_TIMEOUT_S", "Stream"]

OPENING_TIMEOUT_S: Final = 10.0  # a client that never says what it wants must not hold a place
IDLE_TIMEOUT_S: Final = 600.0  # neither side said anything: the connection is dead
MAX_AHEAD_BYTES: Final = 64 << 10  # what is read before it is wanted
_Found = TypeVar("_Found")


class Stream:
    """A socket with a look-ahead buffer and counters. What is inside TLS can be one too: see `_receive` and `_send`."""

    def __init__(self, sock: socket.socket, share: Share | None = None) -> None:
        self.sock = sock
        self.share = Share() if share is None else share
        self._ahead = b""
        self.sent = 0

    async def look(self, find: Callable[[bytes], _Found | None]) -> _Found:
        """Read until `find` finds something in what was read so far; what was read stays to be read."""
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            while True:
                found = find(self._ahead) if self._ahead else None
                if found is not None:
                    return found
                if not await self.more():
                    raise Refused("egress_refused", "the connection ended before it said what it wants")

    async def more(self) -> bool:
        """Read ahead once; False at the end."""
        data = await self._receive(MAX_AHEAD_BYTES)
        self._ahead += data
        return bool(data)

    @property
    def ahead_bytes(self) -> int:
        """How much was read that nobody has taken."""
        return len(self._ahead)

    def take(self, count: int) -> bytes:
        """Remove bytes that were looked at."""
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def put_back(self, data: bytes) -> None:
        """Return bytes that were read and belong to what comes next."""
        self._ahead = data + self._ahead

    async def read(self) -> bytes:
        """What comes next; empty at the end."""
        if self._ahead:
            return self.take(len(self._ahead))
        return await self._receive(MAX_AHEAD_BYTES)

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await self._send(data)
        self.sent += len(data)

    def abort(self) -> None:
        """End both directions now, so that whoever waits for this socket wakes up."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def end(self) -> None:
        """Say that nothing more is sent."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side is gone already, which says the same

    @property
    def is_quiet(self) -> bool:
        """Whether the other side is there and has said nothing: a connection that can be used for another request."""
        if self._ahead:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # an end, or words nobody asked for

    async def _receive(self, most: int) -> bytes:
        while True:
            room = await self.share.wait_room()
            try:
                data = self.sock.recv(min(room, most))
            except (BlockingIOError, InterruptedError):
                await _readable(self.sock)
                continue
            self.share.charge(len(data))
            return data

    async def _send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
