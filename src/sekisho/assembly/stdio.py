"""The two pipes of a client that started us: its messages on standard input, ours on standard output.

Guarantees
- a line is bounded, and so is what waits for a client that does not read: beyond a first mark `on_pressure` is told, so
  that nothing more is fetched for it; beyond a second one nothing more is read from it either;
- every message is one line, and nothing else is ever written there;
- that the client is gone is known without writing to it.

Knows no MCP. What cannot be waited for, a regular file or /dev/null, works in place of a pipe too: it is always ready.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from typing import Final

from sekisho.errors import SekishoError
from sekisho.protocol import LineReader

__all__ = ["ClientPipes"]

READ_BYTES: Final = 64 << 10
MOST_UNREAD_BYTES: Final = 1 << 20  # from here on the gateway is read no more
MOST_OWED_BYTES: Final = 64 << 20  # from here on the client is read no more: our refusals need room too


class ClientPipes:
    """Standard input and output, or descriptors that stand for them.

    Args:
        take: is given every line of the client.
        on_pressure: True when the client does not keep up with what it is told, False when it does again.
    """

    def __init__(
        self,
        *,
        take: Callable[[bytes], None],
        on_pressure: Callable[[bool], None],
        max_line_bytes: int,
    ) -> None:
        self._take = take
        self._on_pressure = on_pressure
        self._lines = LineReader(max_line_bytes=max_line_bytes)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[SekishoError | None] = self._loop.create_future()
        self._reader: asyncio.ReadTransport | None = None
        self._writer: asyncio.WriteTransport | None = None
        self._output = -1
        self._is_gone = False
        self._is_written = asyncio.Event()
        self._is_deaf = False  # nothing is read of the client until it has read something of ours

    async def open(self, stdin_fd: int, stdout_fd: int) -> None:
        """Take ownership of the descriptors and begin to read."""
        self._output = stdout_fd
        if not _is_always_ready(stdout_fd):
            writer, _ = await self._loop.connect_write_pipe(
                lambda: _Output(self._pressed, self._lost), os.fdopen(stdout_fd, "wb", 0)
            )
            writer.set_write_buffer_limits(high=MOST_UNREAD_BYTES)
            self._writer = writer
        if _is_always_ready(stdin_fd):
            await self._read_file(stdin_fd)
            return
        self._reader, _ = await self._loop.connect_read_pipe(
            lambda: _Input(self._took, self._end), os.fdopen(stdin_fd, "rb", 0)
        )

    async def ended(self) -> SekishoError | None:
        """Return when the client sends no more; with an error when what it sent cannot be read any further."""
        return await asyncio.shield(self._ended)

    def is_gone(self) -> bool:
        """True when nobody will read what we write."""
        if not self._is_gone and self._writer is not None:
            poll = select.poll()
            poll.register(self._output, 0)
            self._is_gone = bool(poll.poll(0))  # an error or a hang-up; nothing else was asked for
        return self._is_gone

    def write(self, message: bytes) -> None:
        """Send one message."""
        # a line feed can stand between two tokens, where it means nothing, and nowhere else
        line = message.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in message else message
        if self._writer is None:
            os.write(self._output, line + b"\n")
            return
        if self._is_gone:
            return
        self._writer.write(line + b"\n")
        if not self._is_deaf and self._writer.get_write_buffer_size() > MOST_OWED_BYTES:
            self._is_deaf = True
            if self._reader is not None:
                self._reader.pause_reading()

    async def finish(self) -> None:
        """Write no more; return when all that was written has left, or nobody takes it."""
        if self._writer is not None and not self.is_gone():
            self._writer.close()
            await self._is_written.wait()

    def close(self) -> None:
        """Both ends; what has not left is dropped."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is None:
            os.close(self._output)
        elif not self._is_written.is_set():  # asyncio's own raises when the pipe has been closed already
            self._writer.abort()

    async def _read_file(self, fd: int) -> None:
        with os.fdopen(fd, "rb", 0) as file:
            while not self._ended.done() and (data := file.read(READ_BYTES)):
                self._took(data)
                await asyncio.sleep(0)
        self._end()

    def _took(self, data: bytes) -> None:
        if self._ended.done():
            return
        try:
            lines = self._lines.feed(data)
        except SekishoError as error:
            self._ended.set_result(error)
            return
        for line in lines:
            self._take(line)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _pressed(self, is_pressed: bool) -> None:
        self._on_pressure(is_pressed)
        if self._is_deaf and not is_pressed:
            self._is_deaf = False
            if self._reader is not None:
                self._reader.resume_reading()

    def _lost(self) -> None:
        self._is_gone = True
        self._is_written.set()
        self._end()


class _Input(asyncio.Protocol):
    def __init__(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._take = take
        self._end = end

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end()


class _Output(asyncio.BaseProtocol):
    def __init__(self, press: Callable[[bool], None], lost: Callable[[], None]) -> None:
        self._press = press
        self._lost = lost

    def pause_writing(self) -> None:
        self._press(True)

    def resume_writing(self) -> None:
        self._press(False)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost()


def _is_always_ready(fd: int) -> bool:
    """True where the kernel has nothing to wait for; uvloop ends the whole process when it is asked to."""
    with select.epoll() as asked:
        try:
            asked.register(fd, select.EPOLLIN)
        except PermissionError:
            return True
    return False
