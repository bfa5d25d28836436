"""One end of an open channel: frames in, frames out, sealed, with the frames of one loop turn in one record.

Guarantees order (a frame queued first is sent first), that nothing is sent after `stop`, that a record stays
small unless one payload is large, and that an epoch which is used up ends the channel. Decides nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Final

from sekisho.errors import LocalProtocolError
from sekisho.keys import SealPair
from sekisho.wire.frames import (
    HEAD_BYTES,
    INLINE_BYTES,
    MAX_BATCH_BYTES,
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameReader,
    cut,
    frame_head,
    length_prefix,
)

__all__ = ["SealedPipe"]

SLICE_BYTES: Final = (
    128 << 10
)  # to TLS at once; more would fall out of the processor's cache before it is sent
UNIX_BUFFER_BYTES: Final = 2 << 20
MAX_QUEUED_BYTES: Final = 64 << 20  # a peer that does not read must not exhaust our memory


class SealedPipe:
    """Seals, frames and coalesces over one transport."""

    __slots__ = (
        "_batch",
        "_batch_bytes",
        "_due",
        "_due_bytes",
        "_held_bytes",
        "_is_flush_due",
        "_is_stopped",
        "_loop",
        "_reader",
        "_transport",
        "_waiting",
        "get_buffer",
        "heard_at",
        "seals",
    )

    def __init__(
        self, transport: asyncio.Transport, seals: SealPair, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._reader = FrameReader()
        self.get_buffer = self._reader.get_buffer
        self._waiting: tuple[int, int] | None = None  # kind and call of the payload that is the next record
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._due: list[bytes] = []
        self._due_bytes = 0
        self._held_bytes = 0
        self._is_flush_due = False
        self._is_stopped = False
        self.seals = seals
        self.heard_at = loop.time()
        _widen(transport)

    @property
    def is_full(self) -> bool:
        """True when the peer reads so slowly that more must not be queued."""
        if (
            not self._is_flush_due
        ):  # what the transport holds does not grow before the flush at the end of the turn
            self._held_bytes = self._transport.get_write_buffer_size()
        return self._held_bytes + self._due_bytes > MAX_QUEUED_BYTES

    def send(self, kind: int, call: int = 0, payload: bytes = b"") -> None:
        """Queue one frame; all frames of a loop turn leave in one write.

        Raises:
            LocalProtocolError: `result_too_large`; nothing was queued.
        """
        size = len(payload)
        if size > INLINE_BYTES:
            self._send_large(kind, call, payload)
        else:
            self._batch.append(frame_head(kind, call, size))
            self._batch.append(payload)
            self._batch_bytes += HEAD_BYTES + size
            if self._batch_bytes > MAX_BATCH_BYTES:
                self._seal_batch()
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def receive(self, count: int) -> Iterator[Frame]:
        """Open what arrived in the buffer; after `Tampered` or `RemoteProtocolError` the channel must be cut."""
        return self._opened(self._reader.filled(count))

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The same for bytes that lie elsewhere."""
        return self._opened(self._reader.feed(data))

    def flush(self) -> None:
        """Write what is queued."""
        self._is_flush_due = False
        self._seal_batch()
        due, size = self._due, self._due_bytes
        self._due, self._due_bytes = [], 0
        if not due or self._is_stopped:
            return
        if size <= INLINE_BYTES:
            self._transport.write(b"".join(due))
            return
        for piece in _joined(due):
            view = memoryview(piece)
            for at in range(0, len(piece), SLICE_BYTES):
                self._transport.write(view[at : at + SLICE_BYTES])

    def trim(self) -> None:
        """Give back memory that a large record needed."""
        self._reader.trim()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True
        self._batch.clear()
        self._batch_bytes = 0
        self._due.clear()

    def _opened(self, records: Iterator[memoryview]) -> Iterator[Frame]:
        self.heard_at = self._loop.time()
        unseal = self.seals.open
        for record in records:
            plaintext = unseal(record)
            if self._waiting is None:
                frames, self._waiting = cut(plaintext)
                yield from frames
            else:
                (kind, call), self._waiting = self._waiting, None
                yield kind, call, plaintext

    def _send_large(self, kind: int, call: int, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise LocalProtocolError("result_too_large", f"a frame holds at most {MAX_PAYLOAD_BYTES} bytes")
        self._batch.append(frame_head(kind, call, None))
        self._seal_batch()
        self._seal(payload)

    def _seal_batch(self) -> None:
        if self._batch:
            plaintext = b"".join(self._batch)
            self._batch.clear()
            self._batch_bytes = 0
            self._seal(plaintext)

    def _seal(self, plaintext: bytes) -> None:
        if self._is_stopped:
            return
        try:
            record = self.seals.seal(plaintext)
        except LocalProtocolError:  # the epoch is used up: the line should have replaced us long before
            self.stop()
            self._transport.abort()
            return
        self._due.append(length_prefix(record))
        self._due.append(record)
        self._due_bytes += len(record)


def _widen(transport: asyncio.Transport) -> None:
    """Let a large message leave at once: the buffer of a Unix socket does not grow by itself, as that of TCP does."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_BUFFER_BYTES)  # the system may give less


def _joined(pieces: list[bytes]) -> list[bytes]:
    """Small pieces made one, large ones as they are: TLS makes at least one record of each."""
    joined: list[bytes] = []
    small: list[bytes] = []
    for piece in pieces:
        if len(piece) <= INLINE_BYTES:
            small.append(piece)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(piece)
    if small:
        joined.append(b"".join(small))
    return joined
