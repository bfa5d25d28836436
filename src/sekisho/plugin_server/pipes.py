"""stdio to the plugin: newline-framed messages over three pipes.

Guarantees: a line longer than the limit ends the plugin, not us; stderr is kept only as a short tail and never mixed with
messages; writes of one loop turn are joined; a plugin that stops reading is ended once its pipe and our bounded buffer
are full. A large line is passed on from where it was read to.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, cast

import msgspec

from sekisho.errors import SekishoError, Unavailable
from sekisho.protocol import LineBuffer

__all__ = ["MAX_QUEUED_BYTES", "Pipes"]

MAX_QUEUED_BYTES = 32 << 20  # a plugin that does not read must not fill our memory
PIPE_BYTES = 1 << 20  # a large message must not need a switch of processes for every 64 KiB
MAX_BEYOND_BYTES = 64 << 20  # the largest message that may begin while there is room, and many small ones
STDERR_TAIL_BYTES = 8 << 10  # enough for a traceback
KEEP_PLACES_S: float = 4.0  # of large lines


class Pipes:
    """The three pipes of one running plugin; the transport of its session."""

    has_streams: Final = False  # all messages share one stream

    def __init__(
        self,
        *,
        receive_all: Callable[[Sequence[bytes]], None],
        receive_large: Callable[[memoryview, int], bool],
        on_end: Callable[[SekishoError], None],
        max_line_bytes: int,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        sift: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """`receive_all` and `receive_large` are those of a `Hearer`; `sift` takes out of stderr what is not its."""
        self._receive_all = receive_all
        self._receive_large = receive_large
        self._on_end = on_end
        self._sift = sift
        self._lines = LineBuffer(max_line_bytes)
        self._is_trim_due = False
        self._max_queued = max_queued_bytes
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._is_flush_due = False
        self._is_ended = False
        self._tail = bytearray()
        self._loop = asyncio.get_running_loop()
        self._stdin: asyncio.WriteTransport | None = None
        self._readers: list[asyncio.ReadTransport] = []

    async def open(self, stdin_fd: int, stdout_fd: int, stderr_fd: int) -> None:
        """Take ownership of the descriptors."""
        for fd in (stdin_fd, stdout_fd):
            with contextlib.suppress(OSError):  # the user has many large pipes already: a small one works too
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._stdin, _ = await self._loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(stdin_fd, "wb", 0)
        )
        output = partial(_Stdout, self._lines.get_buffer, self._took_output, self._lost)
        for fd, make in ((stdout_fd, output), (stderr_fd, partial(_Stderr, self._took_stderr))):
            pipe = os.fdopen(fd, "rb", 0)
            reader, _ = await self._loop.connect_read_pipe(partial(_made, make), pipe)
            self._readers.append(reader)

    def send(self, message: bytes, ident: int = 0, words: bytes = b"") -> None:
        """Queue one message; the messages of one loop turn leave in one write."""
        if self._stdin is None or self._is_ended:
            return
        self._unsent.append(message)
        self._unsent_bytes += len(message)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def has_room(self) -> bool:
        """False while so much waits for the plugin that no further call may be sent to it."""
        written = 0 if self._stdin is None else self._stdin.get_write_buffer_size()
        return written + self._unsent_bytes <= self._max_queued

    def withdraw(self, ident: int) -> None:
        """Pipes have no stream that could be closed: the message that cancels is all there is."""

    def use_version(self, version: str) -> None:
        """Pipes look the same in every revision."""

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        """Pipes have no headers."""

    @property
    def stderr_tail(self) -> str:
        """The last words of the plugin, for the operator's log of why it ended."""
        return self._tail.decode("utf-8", "replace")

    def close(self) -> None:
        """Close all three ends."""
        self._is_ended = True
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.abort()  # asyncio's own raises when the plugin has closed its end before
        for reader in self._readers:
            reader.close()

    def _flush(self) -> None:
        self._is_flush_due = False
        messages, self._unsent = self._unsent, []
        self._unsent_bytes = 0
        if self._stdin is None or self._is_ended:
            return
        messages.append(b"")  # so that the last line is ended too
        self._stdin.write(b"\n".join(messages))
        # Calls are refused before this: only a plugin that reads nothing, not even cancellations, gets so far.
        if self._stdin.get_write_buffer_size() > self._max_queued + MAX_BEYOND_BYTES:
            self._end(Unavailable("plugin_unavailable", "the plugin does not read its input"))

    def _took_output(self, count: int) -> None:
        if self._is_ended:
            return
        try:
            large, lines = self._lines.filled(count)
        except SekishoError as error:
            self._end(error)
            return
        if large is not None:
            place, size = large
            if not self._receive_large(place, size):
                lines.insert(0, bytes(place[:size]))
            self._trim_later()
        if lines:
            self._receive_all(lines)

    def _trim_later(self) -> None:
        if not self._is_trim_due:
            self._is_trim_due = True
            self._loop.call_later(KEEP_PLACES_S, self._trim)

    def _trim(self) -> None:
        self._is_trim_due = False
        self._lines.trim()

    def _took_stderr(self, data: bytes) -> None:
        self._tail += self._sift(data)
        del self._tail[:-STDERR_TAIL_BYTES]

    def _lost(self) -> None:
        self._end(Unavailable("plugin_exited", "the plugin closed its output"))

    def _end(self, error: SekishoError) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._on_end(error)


class _Stdout:
    """The plugin's standard output, as a protocol of the event loop that reads into our buffers."""

    def __init__(
        self, buffer: Callable[[], memoryview], took: Callable[[int], None], gone: Callable[[], None]
    ) -> None:
        self._buffer = buffer
        self._took = took
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is said into it."""

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._took(nbytes)

    def data_received(self, data: bytes) -> None:
        """For asyncio's own loop, which knows a protocol with a buffer by its base class only."""
        at = 0
        while at < len(data):
            buffer = self._buffer()
            size = min(len(buffer), len(data) - at)
            buffer[:size] = data[at : at + size]
            at += size
            self._took(size)

    def eof_received(self) -> None:
        """The loop closes the pipe."""

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._gone()


class _Stderr:
    """Its standard error, which may end whenever it likes."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is said into it."""

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def eof_received(self) -> None:
        """The loop closes the pipe."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Who ends, ends its output."""


def _made(make: Callable[[], _Stdout | _Stderr]) -> asyncio.BaseProtocol:
    # it inherits nothing: a compiled class with a base that is not would be no faster than an interpreted one
    return cast(asyncio.BaseProtocol, make())
