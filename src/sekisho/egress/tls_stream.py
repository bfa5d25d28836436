"""TLS around a stream, so that what is inside can be read and written like any other stream.

Everything goes through the stream below, which counts and waits for both. Reading and writing may be done by two tasks,
each of them by one. An end without the goodbye of TLS is an error, because it may be a cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from sekisho.egress.stream import IDLE_TIMEOUT_S, OPENING_TIMEOUT_S, Stream

__all__ = ["TlsStream"]

WRITE_BYTES: Final = 64 << 10  # encrypted at once, before any of it is sent
HANDSHAKE_BYTES: Final = 64 << 10  # a certificate and a key exchange take as long as carrying more than this
# Looked at without giving way to anybody: a host that sends tickets without end must not hold the gates of all.
MAX_QUIET_READS: Final = 3
QUIET_BYTES: Final = 16 << 10
_Result = TypeVar("_Result")


class TlsStream(Stream):
    """What is inside the TLS of another stream."""

    def __init__(self, below: Stream, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """`server_name`: the host whose certificate must be shown; without it, we are the server."""
        super().__init__(below.sock, below.share)
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._turn = (
            asyncio.Lock()
        )  # two tasks may have something to send: a request, and what reading answers

    async def shake_hands(self) -> None:
        """Open it; raises ssl.SSLError when the other side is not to be trusted, or does not want us."""
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            await self.share.wait_room()
            self.share.spend(HANDSHAKE_BYTES)
            try:
                await self._drive(self._tls.do_handshake)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert that says why
                raise

    def end(self) -> None:
        """Say goodbye, as far as the other side takes it at once, and send nothing more."""
        with contextlib.suppress(OSError):
            if not self._turn.locked():
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                self.sock.send(self._outgoing.read())
        self._below.end()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was said inside; what TLS says to itself (a ticket or two) is taken in."""
        if self._ahead:
            return False
        try:
            for _ in range(MAX_QUIET_READS):
                try:
                    self._ahead += self._tls.read(1)
                    return False
                except ssl.SSLWantReadError:
                    data = self._below.take(self._below.ahead_bytes) or self.sock.recv(QUIET_BYTES)
                    if not data:
                        return False
                    self._incoming.write(data)
                    self.share.charge(len(data))
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False  # it goes on and on

    async def _receive(self, most: int) -> bytes:
        try:
            return await self._drive(lambda: self._read(most))
        except ssl.SSLZeroReturnError:
            return b""

    async def _send(self, data: bytes) -> None:
        whole = memoryview(data)
        for start in range(0, len(whole), WRITE_BYTES):
            self._tls.write(whole[start : start + WRITE_BYTES])
            await self._flush()

    def _read(self, most: int) -> bytes:
        """What has come, of as many records as it came in: at least something, or an error that says why not."""
        data = self._tls.read(most)
        with contextlib.suppress(ssl.SSLError):  # an end after this is told by the next call
            while data and len(data) < most and (more := self._tls.read(most - len(data))):
                data += more
        return data

    async def _drive(self, step: Callable[[], _Result]) -> _Result:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._answer()
                data = await self._below.read()
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                continue
            await self._answer()
            return result

    async def _answer(self) -> None:
        """Send what reading has to say. Never waits for a writer, whose other side may be waiting for us to read."""
        if not self._turn.locked():
            await self._flush()

    async def _flush(self) -> None:
        async with self._turn:
            while data := self._outgoing.read():
                await self._below.write(data)


async def carry(plugin: Stream, host: Stream, *, idle_s: float = IDLE_TIMEOUT_S) -> None:
    """Carry bytes both ways, unread, until the host ends, a side breaks, or nothing moves for `idle_s`.

    What `relay` does for sockets, for what is inside TLS.
    """
    loop = asyncio.get_running_loop()

    async def one_way(source: Stream, sink: Stream) -> None:
        while data := await source.read():
            await sink.write(data)
            idle.reschedule(loop.time() + idle_s)
        sink.end()

    try:
        async with asyncio.timeout(idle_s) as idle, asyncio.TaskGroup() as group:
            outward = group.create_task(one_way(plugin, host))
            await one_way(host, plugin)
            outward.cancel()
    except* OSError:
        pass  # a side that breaks, or falls silent for too long, is an ordinary end
