"""What goes out to one client: whole answers, the pieces of a stream, and what the client leaves unread.

Guarantees that bytes leave in the order they were given; that the pieces of one turn of the loop leave in one write; that
a large answer over TLS is handed over only as fast as the client takes it; and that everything kept for a client that
reads slowly is counted in `held_bytes`. Has no timer and decides nothing: whoever owns it says when a turn ends, when the
client lags behind, and what becomes of a client that does so for too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

__all__ = ["COALESCED", "NEVER", "TLS_PIECE", "Outgoing"]

COALESCED: Final = 16 << 10  # progress and its result nearly always come in one turn: one system call
TLS_PIECE: Final = 256 << 10
NEVER: Final = float("inf")
_NOTHING: Final = memoryview(b"")


class Outgoing:
    """Bytes for one transport. `read_by` is when a client that lags behind must have caught up; else `NEVER`."""

    __slots__ = ("_begun", "_is_tls", "_transport", "_unread_bytes", "_unsent", "read_by")

    def __init__(self, transport: asyncio.Transport, *, is_tls: bool) -> None:
        self._transport = transport
        self._is_tls = is_tls
        self._begun = b""  # pieces that leave at the end of this turn, or with what follows
        self._unsent = _NOTHING  # the rest of a large answer
        self._unread_bytes = 0  # given to the transport since the client lags behind
        self.read_by = NEVER

    @property
    def held_bytes(self) -> int:
        """How much is kept because the client does not read it."""
        return len(self._unsent) + self._unread_bytes

    def begin(self, data: bytes) -> bool:
        """Take a piece of an answer; True when `flush` has to be called at the end of this turn."""
        is_first = not self._begun
        self._begun = data if is_first else self._begun + data
        if len(self._begun) > COALESCED:
            self.flush()
            return False
        return is_first

    def flush(self) -> None:
        """Send the pieces that were begun."""
        data, self._begun = self._begun, b""
        if data:
            self._transport.write(data)
            if self.read_by != NEVER:
                self._unread_bytes += len(data)

    def send(self, data: bytes) -> bool:
        """Send a whole answer, or its last piece; False when there is a rest, to be sent by `resume`."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        if self._is_tls and len(data) > TLS_PIECE:
            # Given all at once to the TLS layer, which tells nobody how much has left, it would be there in three copies.
            self._unsent = memoryview(data)
            return self._send_more()
        self._transport.write(data)
        if self.read_by != NEVER:  # it did not leave at once
            self._unread_bytes += len(data)
        return True

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> bool:
        """The same for a large answer as it lies; joining it would copy it once more."""
        if self._is_tls or self._begun:
            return self.send(b"".join(parts))
        self._transport.writelines(parts)
        if self.read_by != NEVER:  # it did not leave at once
            self._unread_bytes += sum(map(len, parts))
        return True

    def resume(self) -> bool:
        """The client caught up; True when the rest of an answer has left with it."""
        self.read_by = NEVER
        self._unread_bytes = 0
        return bool(self._unsent) and self._send_more()

    def drop(self) -> None:
        """The client is gone."""
        self._begun, self._unsent = b"", _NOTHING

    def _send_more(self) -> bool:
        while self._unsent and self.read_by == NEVER:
            self._transport.write(self._unsent[:TLS_PIECE])
            self._unsent = self._unsent[TLS_PIECE:]
        return not self._unsent
