"""The body of one request, followed to its end: what belongs to it goes out, what comes after it is another request.

Chunks are framed anew, so that the host reads the same end as we do: no extension, no trailer, no size in any spelling
but plain hex. Judgement only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sekisho.errors import Refused

__all__ = ["BodyReader"]

MAX_CHUNK_LINE_BYTES: Final = 16  # a chunk-size line may not be used to hold memory
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")


class BodyReader:
    """Passes on exactly one request body; chunks are framed anew. `surplus` is what followed it.

    `watch` sees the content, without its framing, before it is passed on, and may refuse it.
    """

    def __init__(self, length: int | None, watch: Callable[[bytes], object] | None = None) -> None:
        self._watch = watch
        self._is_chunked = length is None
        self._left = length or 0
        self._line = b""
        self._expects = "size"
        self.is_done = length == 0
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """What of these bytes goes on; nothing does once the body is done."""
        if self.is_done:
            self.surplus += data
            return b""
        if not self._is_chunked:
            passed, self.surplus = data[: self._left], data[self._left :]
            self._left -= len(passed)
            if self._watch is not None:
                self._watch(passed)
            self.is_done = self._left == 0
            return passed
        return b"".join(self._chunks(data))

    def _chunks(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        content: list[bytes] = []
        at = 0  # a position, not a shorter copy: a read full of tiny chunks must cost linear time
        while at < len(data) and not self.is_done:
            if self._expects == "data":
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                content.append(piece)
                out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
                self._expects = "data" if self._left else "data end"
                continue
            line, at = self._take_line(data, at)
            if line is not None:
                self._end_line(line)
        if self._watch is not None:
            self._watch(b"".join(content))  # at once: looking at each of many tiny chunks would cost seconds
        if self.is_done:
            out.append(b"0\r\n\r\n")
            self.surplus = data[at:]
        return out

    def _take_line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """The next line, if it is whole, and where the rest begins."""
        held = len(self._line)
        start = self._line + data[at : at + MAX_CHUNK_LINE_BYTES - held]
        end = start.find(b"\r\n")
        if end >= 0:
            self._line = b""
            return start[:end], at + end + 2 - held
        if len(start) >= MAX_CHUNK_LINE_BYTES:
            raise Refused("egress_refused", "the chunked body is malformed")
        self._line = start
        return None, len(data)

    def _end_line(self, line: bytes) -> None:
        if self._expects == "size":
            if not _CHUNK_SIZE.fullmatch(line):
                raise Refused("egress_refused", "the chunked body is malformed")
            self._left = int(line, 16)
            self._expects = "data" if self._left else "last"
            return
        if line:  # also a trailer: a field that was not there when the head was judged
            raise Refused("egress_refused", "the chunked body is malformed")
        self.is_done = self._expects == "last"
        self._expects = "size"
