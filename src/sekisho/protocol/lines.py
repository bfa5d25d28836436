"""Lines out of a byte stream, as MCP frames messages on stdio.

Never holds more than the limit: a line that grows past it is refused while it grows, not when it ends. Bytes
are searched once, and large pieces are copied once, so a line that arrives in many pieces costs linear time. Does
not know what a line contains.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.pieces import Pieces

__all__ = ["MAX_LINE_BYTES", "LineReader", "too_long"]

MAX_LINE_BYTES: Final = 16 << 20  # a plugin that never ends its line must not exhaust memory


class LineReader:
    """Gives whole lines, without their line feed; blank lines are dropped unless wanted."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES, *, keep_blank: bool = False) -> None:
        self._limit = max_line_bytes
        self._keep_blank = keep_blank
        self._held = Pieces()

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished line is kept."""
        return self._held.size

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and give the lines they complete.

        Raises:
            RemoteProtocolError: `result_too_large` as soon as a line exceeds the limit; the stream is lost.
        """
        first = data.find(b"\n")  # many times faster than to split, when a large message comes in pieces
        if first < 0:
            self._hold(data)
            return []
        lines = data.split(b"\n") if first < len(data) - 1 else [data[:-1], b""]
        if self._held.size:
            self._hold(lines[0])
            lines[0] = self._held.take()
        rest = lines.pop()
        if (
            len(data) > self._limit
        ):  # else no line in it can be too long; the first was judged when it was held
            for line in lines:
                self._check(len(line))
        self._hold(rest)
        if self._keep_blank:
            return lines
        return [line for line in lines if line and not line.isspace()]

    def take_held(self) -> bytes:
        """What is kept of an unfinished line, for whoever goes on with it elsewhere."""
        return self._held.take()

    def _hold(self, piece: bytes) -> None:
        self._check(self._held.size + len(piece))
        self._held.add(piece)

    def _check(self, size: int) -> None:
        if size > self._limit:
            self._held.take()
            raise too_long(self._limit)


def too_long(limit: int) -> RemoteProtocolError:
    """The error of a line longer than this."""
    return RemoteProtocolError("result_too_large", f"a line is longer than {limit} bytes")
