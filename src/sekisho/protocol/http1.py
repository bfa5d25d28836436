"""HTTP/1.1 requests out of a stream of bytes; no socket, no clock.

Guarantees, on top of those of `http_head`:
- a head and a body never hold more than the limits, and are refused as soon as that is known;
- what a client gets does not depend on the pieces in which its bytes arrive: whole requests before a malformed one are
  given, and the error stays in `problem`;
- chunks are joined exactly, their extensions are ignored and bounded, as RFC 9112 section 7.1 asks; trailers are refused;
- an offer to upgrade is ignored: some clients (Java's) offer h2c with every request.

Most heads of a connection are copies of an earlier one; a `HeadMemo` is asked first. After an error the connection is
lost: the reader refuses to go on. Does not know MCP.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.protocol.head_memo import MAX_KEPT_HEAD_BYTES, HeadMemo
from sekisho.protocol.http_head import (
    MAX_CHUNK_FACTOR,
    MAX_CHUNK_SLACK,
    malformed,
    parse_head,
)
from sekisho.protocol.http_values import Head, HttpLimits, HttpRequest

__all__ = ["RequestReader"]

MAX_CHUNK_LINE: Final = 1 << 10  # the size of a chunk and its extensions


class _Due(Enum):
    """What comes next in a body."""

    BODY = auto()
    LINE = auto()
    DATA = auto()
    DATA_END = auto()
    END = auto()


_END: Final = b"\r\n\r\n"
_START: Final = re.compile(rb"[A-Z]{1,16}(?: |\Z)")
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# extensions as every reader takes them: no blanks, no quoted strings
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;" + _TOKEN + rb"(?:=" + _TOKEN + rb")?)*")


class RequestReader:
    """Gives requests as soon as they are complete; pipelined ones come together, in order."""

    __slots__ = (
        "_body",
        "_chunk_lines",
        "_due",
        "_head",
        "_held",
        "_is_ended",
        "_left",
        "_limits",
        "_memo",
        "_most",
        "_raw",
        "_rest",
        "_rest_at",
        "problem",
    )

    def __init__(
        self, limits: HttpLimits | None = None, *, heads: HeadMemo | None = None, most: int | None = None
    ) -> None:
        """`most`: how many requests are given at a time; what came behind them is read when nothing more is fed."""
        self._limits = limits or HttpLimits()
        self._memo = heads
        self._most = most
        self._held = bytearray()  # an unfinished head, or an unfinished line of a chunked body
        self._head: Head | None = None  # of the request whose body is under way
        self._raw = b""
        self._body: bytes | bytearray = b""
        self._due = _Due.BODY
        self._rest, self._rest_at = b"", 0  # what came behind `most` requests, and where it begins
        self._left = 0  # bytes of the body or chunk that are still to come
        self._chunk_lines = 0
        self._is_ended = False  # the request before was to be the last
        self.problem: SekishoError | None = None  # why the connection is lost

    @property
    def in_request(self) -> bool:
        """True while a request has begun and is not complete."""
        return self._head is not None or bool(self._held)

    @property
    def has_rest(self) -> bool:
        """True while something has come that was not looked at yet: feed nothing, and it will be."""
        return bool(self._rest)

    @property
    def is_idle(self) -> bool:
        """True between two requests of a sound connection."""
        return self._head is None and not self._held and not self._rest and self.problem is None

    @property
    def is_waited_for(self) -> bool:
        """True while a head has begun and is not complete."""
        return self._head is None and bool(self._held)

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished request is kept."""
        return len(self._held) + len(self._body) + len(self._rest)

    @property
    def pending(self) -> HttpRequest | None:
        """The request whose body is under way, without it."""
        return None if self._head is None else self._request(self._head, b"")

    @property
    def wants_continue(self) -> bool:
        """True while the client waits for `100 Continue` before it sends the body."""
        return self._head is not None and not self._body and "expect" in self._head.headers

    def feed(self, data: bytes) -> list[HttpRequest]:
        """Take the next bytes of the connection and give the requests they complete.

        Whole requests in front of a malformed one are given, and the error is in `problem`.

        Raises:
            Refused: `body_too_large`.
            RemoteProtocolError: `http_malformed` or `header_too_large`.
        """
        if self.problem is not None:
            raise malformed("the connection was refused before")
        position = 0
        if self._rest:
            position, rest, self._rest = self._rest_at, self._rest, b""
            if data:  # more came, although nobody asked for it
                data, position = rest[position:] + data, 0
            else:
                data = rest
        elif self._memo is not None and self._head is None and not self._held and not self._is_ended:
            known = self._memo.recall(data)
            if known is not None:
                return [known]
        done: list[HttpRequest] = []
        end = len(data)
        try:
            while position < end:
                if len(done) == self._most:
                    self._rest, self._rest_at = data, position
                    break
                position = self._step(data, position, done)
        except SekishoError as error:
            self.problem = error
            if not done:
                raise
        return done

    def _step(self, data: bytes, position: int, done: list[HttpRequest]) -> int:
        """Take what is due next; returns where the rest begins."""
        head = self._head
        if head is None:
            raw, position = self._take_head(data, position)
            if raw is None:
                return position
            self._raw = raw
            self._head = head = parse_head(raw, self._limits)
            self._due = _Due.LINE if head.length is None else _Due.BODY
            self._left = head.length or 0
            self._chunk_lines = 0
        elif self._due is _Due.BODY:
            position = self._take_data(data, position)
        elif self._due is _Due.DATA:
            position = self._take_data(data, position)
            if not self._left:
                self._due = _Due.DATA_END
            return position
        elif self._due is _Due.LINE:
            return self._take_line(data, position)
        else:
            return self._take_line_end(data, position, done)
        if self._due is _Due.BODY and not self._left:
            self._complete(head, done)
        return position

    def _take_head(self, data: bytes, position: int) -> tuple[bytes | None, int]:
        """The whole head, if it is there, and where the rest begins."""
        if self._is_ended:
            raise malformed("something follows the request that was to be the last")
        held, most = self._held, self._limits.max_head_bytes
        before = len(held)
        if not before and (end := data.find(_END, position) + 4) >= 4:
            raw = data[position:end]
            _refuse_loose(raw, 0, most)
            if len(raw) > most:
                raise _head_too_large()
            return raw, end
        held += data[position : position + most + 4 - before]
        end = held.find(_END, max(0, before - 3)) + 4
        _refuse_loose(held, max(0, before - 1), most if end < 4 else min(end, most))
        if (end if end >= 4 else len(held)) > most:
            raise _head_too_large()
        if end < 4:
            return None, len(data)
        raw = bytes(held[:end])
        held.clear()
        return raw, position + end - before

    def _take_data(self, data: bytes, position: int) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        if not self._body:
            self._body = piece  # the usual case: it comes in one piece
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += piece
        return position + len(piece)

    def _take_line(self, data: bytes, position: int) -> int:
        """The line before a chunk: its size and extensions that mean nothing."""
        held = self._held
        before = len(held)
        held += data[position : position + MAX_CHUNK_LINE + 2 - before]
        end = held.find(b"\r\n", max(0, before - 1))
        if end < 0:
            if len(held) >= MAX_CHUNK_LINE + 2 or b"\n" in held:
                raise malformed("the line before a chunk is too long, or ends in no line end of HTTP")
            return len(data)
        match = _CHUNK.fullmatch(bytes(held[:end]))
        held.clear()
        if match is None:
            raise malformed("the chunks are not well-formed")
        self._chunk_lines += end + 2
        if self._chunk_lines > MAX_CHUNK_SLACK + MAX_CHUNK_FACTOR * len(self._body):
            raise malformed("the chunks are mostly padding")
        self._left = int(match[1], 16)
        if len(self._body) + self._left > self._limits.max_body_bytes:
            raise Refused("body_too_large", f"a body has at most {self._limits.max_body_bytes} bytes")
        self._due = _Due.DATA if self._left else _Due.END
        return position + end + 2 - before

    def _take_line_end(self, data: bytes, position: int, done: list[HttpRequest]) -> int:
        """The line end behind a chunk, or behind all of them."""
        held = self._held
        taken = data[position : position + 2 - len(held)]
        held += taken
        if not b"\r\n".startswith(held):
            raise malformed(
                "trailers are not accepted" if self._due is _Due.END else "the chunks are not well-formed"
            )
        if len(held) == 2:
            held.clear()
            if self._due is _Due.END and self._head is not None:
                self._complete(self._head, done)
            else:
                self._due = _Due.LINE
        return position + len(taken)

    def _complete(self, head: Head, done: list[HttpRequest]) -> None:
        body, self._body = bytes(self._body), b""
        self._head = None
        self._is_ended = not head.keep_alive
        done.append(self._request(head, body))

    def _request(self, head: Head, body: bytes) -> HttpRequest:
        may_be_kept = (
            head.method == "POST"
            and head.keep_alive
            and not head.is_old
            and head.headers.get("content-length") == str(len(body))
            and "expect" not in head.headers
            and len(self._raw) <= MAX_KEPT_HEAD_BYTES
        )
        return HttpRequest(
            method=head.method,
            target=head.target,
            headers=head.headers,
            body=body,
            keep_alive=head.keep_alive,
            speaks_chunks=not head.is_old,
            head=self._raw if may_be_kept else b"",
        )


def _refuse_loose(head: bytes | bytearray, start: int, most: int) -> None:
    """Refuse at once what no further byte can mend, and the same whatever the pieces: so it comes before the size.

    Everything before `start` was looked at before. Counting is many times cheaper than a pattern that looks around.
    """
    if not _START.match(head):
        raise malformed("the request is not well-formed HTTP/1.1")
    part = bytes(head[start:most])
    if start and part[:1] == b"\n":
        part = part[1:]  # its carriage return is further in front
    ends, returns = part.count(b"\r\n"), part.count(b"\r")
    is_cut = returns == ends + 1 and part[-1:] == b"\r"
    if part.count(b"\n") != ends or (returns != ends and not is_cut) or 0 in part:
        raise malformed("the request is not well-formed HTTP/1.1")


def _head_too_large() -> RemoteProtocolError:
    return RemoteProtocolError("header_too_large", "the head of the request is too large")
