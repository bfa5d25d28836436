"""Buffers for large bodies, used again: filling a new one with zeros takes nearly as long as reading into it.

Guarantees that a buffer belongs to one body at a time, that what is kept between bodies is bounded, and that it is given
back KEEP_S later. A buffer holds what was there before: whoever borrows it reads only what it has written.
"""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["BodyBuffers"]

KEEP_S: Final = 4.0
MAX_KEPT: Final = 8
MAX_KEPT_BYTES: Final = 2 << 20  # of one; a body beyond costs so much that its buffer is a small part of it


class BodyBuffers:
    """The buffers of one pool of connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._kept: list[bytearray] = []
        self._is_drop_due = False

    @property
    def kept_bytes(self) -> int:
        """What is kept for the next bodies."""
        return sum(map(len, self._kept))

    def borrow(self, size: int) -> bytearray:
        """One of at least this size."""
        for at, buffer in enumerate(self._kept):
            if len(buffer) >= size:
                del self._kept[at]
                return buffer
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Its body is read, or will not be."""
        if len(buffer) > MAX_KEPT_BYTES or len(self._kept) >= MAX_KEPT:
            return
        self._kept.append(buffer)
        if not self._is_drop_due:
            self._is_drop_due = True
            self._loop.call_later(KEEP_S, self.drop)

    def drop(self) -> None:
        """Keep nothing."""
        self._is_drop_due = False
        self._kept.clear()
