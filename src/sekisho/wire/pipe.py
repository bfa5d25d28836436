"""One end of an open channel: frames in, frames out, sealed, with the writes of one loop turn joined.

Guarantees order (a frame sealed first is sent first) and that nothing is sent after `stop`. Decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from sekisho.keys import SealPair
from sekisho.wire.frames import FrameReader, Kind, decode, encode

__all__ = ["SealedPipe"]

MAX_QUEUED_BYTES: Final = 64 << 20  # a peer that does not read must not exhaust our memory


class SealedPipe:
    """Seals, frames and coalesces over one transport."""

    __slots__ = ("_loop", "_out", "_reader", "_scheduled", "_stopped", "_transport", "heard_at", "seals")

    def __init__(
        self, transport: asyncio.Transport, seals: SealPair, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._reader = FrameReader()
        self._out: list[bytes] = []
        self._scheduled = False
        self._stopped = False
        self.seals = seals
        self.heard_at = loop.time()

    @property
    def is_full(self) -> bool:
        """True when the peer reads so slowly that more must not be queued."""
        return self._transport.get_write_buffer_size() > MAX_QUEUED_BYTES

    def send(self, kind: Kind, call: int = 0, payload: bytes = b"") -> None:
        """Queue one frame; all frames of a loop turn leave in one write."""
        record = self.seals.seal(encode(kind, call, payload))
        out = self._out
        out.append(len(record).to_bytes(4))
        out.append(record)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def receive(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Open what arrived; after `Tampered` or `RemoteProtocolError` the channel must be cut."""
        self.heard_at = self._loop.time()
        opened = self.seals.open
        for record in self._reader.feed(data):
            yield decode(opened(record))

    def flush(self) -> None:
        """Write what is queued."""
        self._scheduled = False
        if self._out and not self._stopped:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped = True
        self._out.clear()
