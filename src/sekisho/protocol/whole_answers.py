"""Responses known by the exact bytes of their heads, so that the usual ones cost no parser.

Guarantees that nothing is known but what `ResponseReader` has read before: a head that differs in one byte, a length that
is not exactly the one stated, and a framing that is not the one that servers usually write go to the reader.
"""

from __future__ import annotations

import re
from typing import Final

from sekisho.protocol.http_response_values import BodyChunk, ResponseEnd, ResponseEvent, ResponseHead

__all__ = ["WholeAnswers"]

MAX_MEMO: Final = 256  # heads; a server that never says the same twice must not fill our memory
MAX_MEMO_HEAD_BYTES: Final = 2048
_HEAD_END: Final = b"\r\n\r\n"
_LINE_END: Final = b"\r\n"
_CHUNK: Final = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,6})\r\n")  # no extension, no leading zero
_LAST: Final = b"0\r\n\r\n"  # no trailers


class WholeAnswers:
    """Knows heads by their exact bytes: of usual answers, a 200 with JSON in one read, and of streams that are.

    Only heads that `ResponseReader` accepted are known, each with the one length it states, or with what it says of a
    body in chunks; anything that is not byte for byte such a head with exactly such a body behind it is none of ours, and
    goes to the reader.
    """

    __slots__ = ("_lengths", "_streams")

    def __init__(self) -> None:
        self._lengths: dict[bytes, int] = {}
        self._streams: dict[bytes, ResponseHead] = {}

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if `data` is a whole answer with a known head."""
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        length = self._lengths.get(data[:end])
        return data[end:] if length is not None and len(data) - end == length else None

    def stream_of(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Head and body, if `data` is a whole stream with a known head."""
        if not self._streams or not data.endswith(_LAST):
            return None
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        head = self._streams.get(data[:end])
        body = None if head is None else _joined(data, end)
        return None if head is None or not body else (head, body)

    def learn(self, data: bytes, events: list[ResponseEvent]) -> None:
        """Remember the head of `data`, if the reader found in it exactly one whole answer that may be kept alive."""
        match events:
            case [ResponseHead(status=200, keep_alive=True) as head, BodyChunk(data=body), ResponseEnd()]:
                pass
            case _:
                return
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        if end < len(_HEAD_END):
            return
        if head.is_json and head.headers.get("content-length") == str(len(body)) and data[end:] == body:
            _make_room(self._lengths)
            self._lengths[data[:end]] = len(body)
        elif head.is_event_stream and "transfer-encoding" in head.headers and _joined(data, end) == body:
            _make_room(self._streams)
            self._streams[data[:end]] = head

    def forget(self) -> None:
        """Know nothing: what a head means has changed."""
        self._lengths.clear()
        self._streams.clear()


def _make_room(memo: dict[bytes, int] | dict[bytes, ResponseHead]) -> None:
    if len(memo) >= MAX_MEMO:
        memo.clear()


def _joined(data: bytes, at: int) -> bytes | None:
    """The body in chunks that begins here and ends with the data; None for any other."""
    pieces: list[bytes] = []
    while True:
        size = _CHUNK.match(data, at)
        if size is None:
            return b"".join(pieces) if data[at:] == _LAST else None
        start = size.end()
        end = start + int(size[1], 16)
        if data[end : end + 2] != _LINE_END:
            return None
        pieces.append(data[start:end])
        at = end + 2
