"""Bytes in and out of one connection: bounded reads, and the relay between two of them.

Thin hands over non-blocking sockets; decides nothing. Writing waits for the slower side, so nothing piles up
in memory.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from sekisho.errors import Refused

__all__ = ["IDLE_TIMEOUT_S", "OPENING_TIMEOUT_S", "Stream", "relay"]

OPENING_TIMEOUT_S: Final = 10.0  # a client that never says what it wants must not hold a place
IDLE_TIMEOUT_S: Final = 600.0  # neither side said anything: the connection is dead
_READ_BYTES: Final = 64 << 10
_Found = TypeVar("_Found")


class Stream:
    """A socket with a look-ahead buffer and counters."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._ahead = b""
        self.sent = 0

    async def look(self, find: Callable[[bytes], _Found | None]) -> _Found:
        """Read until `find` finds something in what was read so far; what was read stays to be read."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            while True:
                found = find(self._ahead) if self._ahead else None
                if found is not None:
                    return found
                data = await loop.sock_recv(self.sock, _READ_BYTES)
                if not data:
                    raise Refused("egress_refused", "the connection ended before it said what it wants")
                self._ahead += data

    def take(self, count: int) -> bytes:
        """Remove bytes that were looked at."""
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    async def read(self) -> bytes:
        """What comes next; empty at the end."""
        if self._ahead:
            return self.take(len(self._ahead))
        return await asyncio.get_running_loop().sock_recv(self.sock, _READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)
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


async def relay(
    plugin: Stream,
    host: Stream,
    *,
    filter_out: Callable[[bytes], bytes | None],
    idle_s: float = IDLE_TIMEOUT_S,
) -> None:
    """Carry bytes both ways until the host's side ends, a side breaks, or nothing moves for `idle_s`.

    Args:
        plugin: the side inside the sandbox.
        host: the side outside.
        filter_out: what of the plugin's bytes goes out; None when nothing further may. Its refusal ends the
        relay.
        idle_s: how long both sides may be silent.
    """
    loop = asyncio.get_running_loop()

    async def outward() -> Refused | None:
        try:
            while data := await plugin.read():
                passed = filter_out(data)
                if passed is None:
                    return None
                await host.write(passed)
                idle.reschedule(loop.time() + idle_s)
        except Refused as refusal:
            host.abort()  # the other direction ends with it
            return refusal
        host.end()
        return None

    async def inward() -> None:
        while data := await host.read():
            await plugin.write(data)
            idle.reschedule(loop.time() + idle_s)

    out: asyncio.Task[Refused | None] | None = None
    try:
        async with asyncio.timeout(idle_s) as idle, asyncio.TaskGroup() as group:
            out = group.create_task(outward())
            await inward()
            out.cancel()
    except* OSError:
        pass  # a side that breaks, or falls silent for too long, is an ordinary end
    if out is not None and out.done() and not out.cancelled() and out.exception() is None:
        refusal = out.result()
        if refusal is not None:
            raise refusal
