"""Where an HTTP/1.1 answer ends, so that the next request on the same connection can be judged by itself.

- What a host says is passed on as it is. Only its length is understood: a counted or chunked body, none at all, or
  everything until the host closes.
- Whatever could be read in two ways (two lengths, a coding besides chunked, an odd line) counts as "until the host
  closes". After that no further request is carried, so a doubt can cost a connection and never a judgement.
- `101` is the end of HTTP on this connection when it answers the upgrade that was asked for; unasked it is refused.

Judgement only.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from sekisho.egress.tunnel import ProxyRequest
from sekisho.errors import Refused

__all__ = ["MAX_ANSWER_HEAD_BYTES", "ResponseReader"]

MAX_ANSWER_HEAD_BYTES: Final = 256 << 10  # beyond what any client reads
MAX_LINE_BYTES: Final = 8 << 10  # a chunk line with extensions, or a trailer
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_SWITCHING: Final = 101
_WITHOUT_BODY: Final = frozenset({204, 304})

_State = Literal["head", "counted", "size", "chunk", "chunk end", "trailer", "until close", "done"]


class ResponseReader:
    """Follows the answer to one request. Feed it everything the host says, in order."""

    def __init__(self, request: ProxyRequest) -> None:
        self._is_head = request.method == b"HEAD"
        self._wants_upgrade = request.is_upgrade
        self._state: _State = "head"
        self._held = b""
        self._left = 0
        self._is_kept = not request.is_last
        self.is_switched = False
        self.status = 0  # of the answer, once its head has come

    @property
    def is_done(self) -> bool:
        """Whether the answer is complete."""
        return self._state == "done"

    @property
    def is_kept(self) -> bool:
        """Whether another request may follow on the connection that brought this answer."""
        return self.is_done and self._is_kept and not self.is_switched

    def feed(self, data: bytes) -> int:
        """Follow these bytes; how many of them belong to the answer.

        Raises:
            Refused: an upgrade that nobody asked for.
        """
        at = 0
        while at < len(data) and self._state != "done":
            if self._state in ("counted", "chunk"):
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                if not self._left:
                    self._state = "done" if self._state == "counted" else "chunk end"
            elif self._state == "until close":
                at = len(data)
            else:
                at = self._feed_text(data, at)
        return at

    def _feed_text(self, data: bytes, at: int) -> int:
        """Collect a head or a line; where what follows it begins."""
        mark, most = (
            (b"\r\n\r\n", MAX_ANSWER_HEAD_BYTES) if self._state == "head" else (b"\r\n", MAX_LINE_BYTES)
        )
        held = len(self._held)
        text = self._held + data[at : at + most]
        end = text.find(mark, max(0, held - len(mark)))
        if end < 0:
            self._held = text
            if len(text) >= most:
                self._doubt()
            return min(len(data), at + most)
        self._held = b""
        if self._state == "head":
            self._end_head(text[:end])
        else:
            self._end_line(text[:end])
        return at + end + len(mark) - held

    def _end_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None:
            return self._doubt()
        code = int(status[2])
        if code == _SWITCHING:
            return self._switch()
        if code < 200:
            return None  # the answer itself is still to come
        self.status = code
        fields = [line.partition(b":") for line in lines]
        named = [(name.lower(), value.strip().lower()) for name, _, value in fields]
        self._frame(code, named, is_old=status[1] == b"0")
        return None

    def _switch(self) -> None:
        if not self._wants_upgrade:
            raise Refused("egress_refused", "the host changed the protocol unasked")
        self.status, self.is_switched, self._state = _SWITCHING, True, "done"

    def _frame(self, code: int, fields: list[tuple[bytes, bytes]], *, is_old: bool) -> None:
        said = b",".join(value for name, value in fields if name == b"connection")
        if is_old or b"close" in [word.strip() for word in said.split(b",")]:
            self._is_kept = False
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value for name, value in fields if name == b"transfer-encoding"]
        if self._is_head or code in _WITHOUT_BODY:
            self._state = "done"
        elif codings == [b"chunked"] and not lengths and not is_old:
            self._state = "size"
        elif len(lengths) == 1 and not codings and _LENGTH.fullmatch(lengths[0]):
            self._left = int(lengths[0])
            self._state = "counted" if self._left else "done"
        else:
            self._doubt()

    def _end_line(self, line: bytes) -> None:
        if self._state == "chunk end":
            self._state = "size"
            if line:
                self._doubt()
        elif self._state == "trailer":
            self._state = "trailer" if line else "done"
        elif (size := _CHUNK.fullmatch(line)) is not None:
            self._left = int(size[1], 16)
            self._state = "chunk" if self._left else "trailer"
        else:
            self._doubt()

    def _doubt(self) -> None:
        self._held = b""
        self._is_kept = False
        self._state = "until close"
