"""One end of an open channel: frames in, frames out, sealed, with the frames of one loop turn in one record.

Guarantees order (a frame queued first is sent first), that nothing is sent after `stop`, that a record stays
small unless one payload is large, and that an epoch which is used up ends the channel. A large payload is sealed and
handed to TLS at once, and the next one where it lay. Decides nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Final

from sekisho.errors import LocalProtocolError
from sekisho.keys import SealPair
from sekisho.protocol import Places
from sekisho.wire.frames import (
    HEAD_BYTES,
    INLINE_BYTES,
    MAX_BATCH_BYTES,
    MAX_PAYLOAD_BYTES,
    SEAL_BYTES,
    FrameReader,
    Kind,
    Opened,
    Payload,
    cut,
    frame_head,
    prefix_of_sealed,
    whole,
)

__all__ = ["SealedPipe"]

SLICE_BYTES: Final = (
    128 << 10
)  # to TLS at once; more would fall out of the processor's cache before it is sent
MAX_OPENED: Final = 4  # results whose places are used again, while others wait for the log or a slow client
_RESULT: Final = int(Kind.RESULT)
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
        "_is_writing",
        "_loop",
        "_opened_places",
        "_reader",
        "_sealed_places",
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
        self._due: list[Payload] = []  # plaintexts of records
        self._due_bytes = 0
        self._sealed_places = Places(1)  # TLS has nearly always taken a record before the next one is sealed
        self._opened_places = Places(MAX_OPENED)
        self._held_bytes = 0
        self._is_flush_due = False
        self._is_stopped = False
        self._is_writing = False
        self.seals = seals
        self.heard_at = loop.time()
        _widen(transport)

    @property
    def is_full(self) -> bool:
        """True when the peer reads so slowly that more must not be queued."""
        return self.unread_bytes > MAX_QUEUED_BYTES

    @property
    def unread_bytes(self) -> int:
        """How much is queued that the peer has not read."""
        if not self._is_flush_due:  # until the flush at the end of the turn, it grows by large payloads only
            self._held_bytes = self._transport.get_write_buffer_size()
        return self._held_bytes + self._due_bytes

    def send(self, kind: int, call: int = 0, payload: Payload = b"") -> None:
        """Queue one frame; all frames of a loop turn leave in one write. What a view shows is not looked at afterwards.

        Raises:
            LocalProtocolError: `result_too_large`; nothing was queued.
        """
        size = len(payload)
        if size > INLINE_BYTES:
            self._send_large(kind, call, payload)
        else:
            self._batch.append(frame_head(kind, call, size))
            self._batch.append(whole(payload))
            self._batch_bytes += HEAD_BYTES + size
            if self._batch_bytes > MAX_BATCH_BYTES:
                self._close_batch()
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def expect(self) -> None:
        """Something will probably be sent by a callback that is due already: the write comes right behind that callback.

        Else the loop would go round once more for it, and ask the kernel for news that nobody waits for.
        """
        if not self._is_flush_due:
            self._held_bytes = self._transport.get_write_buffer_size()
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def receive(self, count: int) -> Iterator[Opened]:
        """Open what arrived in the buffer; after `Tampered` or `RemoteProtocolError` the channel must be cut."""
        return self._opened(self._reader.filled(count))

    def feed(self, data: bytes) -> Iterator[Opened]:
        """The same for bytes that lie elsewhere."""
        return self._opened(self._reader.feed(data))

    def flush(self) -> None:
        """Write what is queued."""
        self._is_flush_due = False
        self._close_batch()
        self._write_due()

    def trim(self) -> None:
        """Give back memory that a large record needed."""
        self._reader.trim()
        self._sealed_places.drop()
        self._opened_places.drop()

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True
        self._batch.clear()
        self._batch_bytes = 0
        self._due.clear()

    def _opened(self, records: Iterator[memoryview]) -> Iterator[Opened]:
        self.heard_at = self._loop.time()
        unseal = self.seals.open
        for record in records:
            if self._waiting is None:
                frames, self._waiting = cut(unseal(record))
                yield from frames
                continue
            (kind, call), self._waiting = self._waiting, None
            if kind == _RESULT and len(record) > SLICE_BYTES:
                yield kind, call, self._opened_large(record)
            else:
                yield kind, call, unseal(record)

    def _opened_large(self, record: memoryview) -> memoryview:
        place = self._opened_places.take(len(record) - SEAL_BYTES)
        self.seals.open_into(record, place)
        return place

    def _send_large(self, kind: int, call: int, payload: Payload) -> None:
        size = len(payload)
        if size > MAX_PAYLOAD_BYTES:
            raise LocalProtocolError("result_too_large", f"a frame holds at most {MAX_PAYLOAD_BYTES} bytes")
        self._batch.append(frame_head(kind, call, None))
        self._close_batch()
        is_written_now = size > SLICE_BYTES and not self._is_writing
        self._due.append(payload if is_written_now else whole(payload))
        self._due_bytes += size
        if size > SLICE_BYTES:  # kept until the end of the turn, many would take as much memory again
            self._write_due()
            self._held_bytes = self._transport.get_write_buffer_size()

    def _close_batch(self) -> None:
        if self._batch:
            plaintext = b"".join(self._batch)
            self._batch.clear()
            self._batch_bytes = 0
            self._due.append(plaintext)
            self._due_bytes += len(plaintext)

    def _write_due(self) -> None:
        if (
            self._is_writing
        ):  # the transport calls back in the midst of a record: what is queued there comes behind it
            return
        self._is_writing = True
        try:
            while self._due and not self._is_stopped:
                due, self._due, self._due_bytes = self._due, [], 0
                self._write_records(due)
        except LocalProtocolError:  # the epoch is used up: the line should have replaced us long before
            self.stop()
            self._transport.abort()
        finally:
            self._is_writing = False

    def _write_records(self, plaintexts: list[Payload]) -> None:
        sealed: list[bytes] = []
        for plaintext in plaintexts:
            sealed.append(prefix_of_sealed(plaintext))
            if len(plaintext) > SLICE_BYTES:
                before = b"".join(sealed)
                if len(before) > INLINE_BYTES:
                    self._write(sealed)
                    before = b""
                self._write_large(before, plaintext)
                sealed = []
            else:
                sealed.append(self.seals.seal(whole(plaintext)))
        self._write(sealed)

    def _write(self, sealed: list[bytes]) -> None:
        if self._is_stopped:
            return
        if len(sealed) == 2 and len(sealed[1]) <= INLINE_BYTES:  # nearly always
            self._transport.write(sealed[0] + sealed[1])
            return
        for piece in _joined(sealed):
            self._transport.write(piece)

    def _write_large(self, before: bytes, plaintext: Payload) -> None:
        """`before` lies right before the record, so that it is no write, and no reading, of its own."""
        start = len(before)
        size = start + len(plaintext) + SEAL_BYTES
        place = self._sealed_places.take(size)
        place[:start] = before
        self.seals.seal_into(plaintext, place[start:])
        at = 0
        while at < size and not self._is_stopped:
            end = at + SLICE_BYTES
            if size - end < INLINE_BYTES:  # so little more is not worth another write
                end = size
            self._transport.write(place[at:end])
            at = end


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
