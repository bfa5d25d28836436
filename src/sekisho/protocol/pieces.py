"""Bytes that arrive in pieces and are wanted as one.

Guarantees that every byte is kept once, that large pieces are copied once, when all are joined, and that many tiny
pieces do not cost an object each. Sets no limit: whoever adds knows one.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Pieces"]

LARGE_BYTES: Final = 4 << 10  # worth an object of its own


class Pieces:
    """What has arrived so far."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Keep one more piece."""
        if not piece:
            return
        self.size += len(piece)
        last = self._pieces[-1] if self._pieces else None
        if len(piece) >= LARGE_BYTES:
            self._pieces.append(piece)
        elif isinstance(last, bytearray):
            last += piece
        else:
            self._pieces.append(bytearray(piece))

    def take(self) -> bytes:
        """All of it, once."""
        pieces, self._pieces, self.size = self._pieces, [], 0
        only = pieces[0] if len(pieces) == 1 else b""
        return only if isinstance(only, bytes) and only else b"".join(pieces)
