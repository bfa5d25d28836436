"""Responses known by the exact bytes of their heads, so that the usual ones cost no parser.

Guarantees that nothing is known but what `ResponseReader` has read before: a head that differs in one byte, a length that
is not exactly the one stated, and a framing that is not the one that servers usually write go to the reader. The messages
of a stream are those that `SseReader` finds in it.
"""

from __future__ import annotations

import re
from typing import Final

from sekisho.protocol.http_response_values import BodyChunk, ResponseEnd, ResponseEvent, ResponseHead
from sekisho.protocol.sse import USUAL_FORMS

__all__ = ["LARGE_BODY_BYTES", "WholeAnswers"]

LARGE_BODY_BYTES: Final = 64 << 10  # worth a place of its own, and a head that is known before all is there
MAX_MEMO: Final = 256  # heads; a server that never says the same twice must not fill our memory
MAX_MEMO_HEAD_BYTES: Final = 2048
_HEAD_END: Final = b"\r\n\r\n"
_LINE_END: Final = b"\r\n"
_CHUNK: Final = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,6})\r\n")  # no extension, no leading zero
_LAST: Final = b"0\r\n\r\n"  # no trailers
_END: Final = _LINE_END + _LAST
_MOST_DIGITS: Final = 7  # of a chunk's size


class WholeAnswers:
    """Knows heads by their exact bytes: of usual answers, a 200 with JSON in one read, and of streams that are.

    Only heads that `ResponseReader` accepted are known, each with the one length it states, or with what it says of a
    body in chunks; anything that is not byte for byte such a head with exactly such a body behind it is none of ours, and
    goes to the reader.
    """

    __slots__ = ("_begun", "_lengths", "_streams")

    def __init__(self) -> None:
        self._begun: dict[bytes, ResponseHead] = {}
        self._lengths: dict[bytes, int] = {}
        self._streams: dict[bytes, ResponseHead] = {}

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if `data` is a whole answer with a known head."""
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        length = self._lengths.get(data[:end])
        return data[end:] if length is not None and len(data) - end == length else None

    def begun_of(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Head and what is there of the body, if `data` begins a large answer with a known head, and is not all of it."""
        if not self._begun:
            return None
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        head = self._begun.get(data[:end])
        return None if head is None or len(data) - end >= _length_of(head) else (head, data[end:])

    def messages_of(self, data: bytes) -> tuple[ResponseHead, list[bytes]] | None:
        """Head and messages, if `data` is a whole stream with a known head and a usual event in each chunk."""
        if not self._streams or not data.endswith(_LAST):
            return None
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        head = self._streams.get(data[:end])
        messages = None if head is None else _messages(data, end)
        return None if head is None or not messages else (head, messages)

    def stream_of(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Head and body, if `data` is a whole stream with a known head."""
        if not self._streams or not data.endswith(_LAST):
            return None
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        head = self._streams.get(data[:end])
        body = None if head is None else _joined(data, end)
        return None if head is None or not body else (head, body)

    def learn(self, data: bytes, events: list[ResponseEvent]) -> None:
        """Remember the head of `data`, if the reader found one answer that may be kept alive, or how it begins."""
        match events:
            case [ResponseHead(status=200, keep_alive=True) as head, BodyChunk(data=body), ResponseEnd()]:
                pass
            case [ResponseHead(status=200, keep_alive=True) as head, BodyChunk(data=body)]:
                self._learn_begun(data, head, body)
                return
            case [ResponseHead(status=200, keep_alive=True) as head]:  # many servers send it by itself
                self._learn_begun(data, head, b"")
                return
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

    def _learn_begun(self, data: bytes, head: ResponseHead, body: bytes) -> None:
        end = data.find(_HEAD_END, 0, MAX_MEMO_HEAD_BYTES) + len(_HEAD_END)
        is_large = head.is_json and _length_of(head) >= max(LARGE_BODY_BYTES, len(body) + 1)
        if is_large and end >= len(_HEAD_END) and data[end:] == body:
            _make_room(self._begun)
            self._begun[data[:end]] = head

    def forget(self) -> None:
        """Know nothing: what a head means has changed."""
        self._begun.clear()
        self._lengths.clear()
        self._streams.clear()


def _length_of(head: ResponseHead) -> int:
    return int(head.headers.get("content-length", "0"))


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


def _messages(data: bytes, at: int) -> list[bytes] | None:
    """The messages of the chunks that begin here and end with the data, each in an event of one form; else None."""
    start = data.find(_LINE_END, at) + len(_LINE_END)
    for before, behind in USUAL_FORMS:
        if data.startswith(before, start) and data.endswith(behind + _END):
            break
    else:
        return None
    pieces = data[at : -len(_LAST)].split(behind + _LINE_END)
    pieces.pop()  # behind the last of them is nothing
    messages: list[bytes] = []
    known, opening = -1, b""
    for piece in pieces:
        size = len(piece) + len(behind)
        if size != known:  # notes are often as long as one another
            known, opening = size, _opening(size, before)
        if not piece.startswith(opening):
            return None
        messages.append(piece[len(opening) :])
    text = b"".join(messages)
    return messages if all(messages) and b"\n" not in text and b"\r" not in text else None


def _opening(size: int, before: bytes) -> bytes:
    """How a chunk begins that has so many bytes together with the line that states its size."""
    for digits in range(1, _MOST_DIGITS + 1):
        stated = size - digits - len(_LINE_END)
        if 1 <= stated >> 4 * (digits - 1) <= 15:
            return b"%x\r\n%b" % (stated, before)
    return before  # no chunk begins so, since none is so small or so large: what stands there is no size
