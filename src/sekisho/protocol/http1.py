"""HTTP/1.1 requests out of bytes; no socket, no clock.

Guarantees, on top of llhttp in its strict mode (which refuses bare CR or LF, folded headers, blanks around
names, control characters, malformed chunks, and any message with both Content-Length and Transfer-Encoding):
- a head and a body never hold more than the limits, and are refused as soon as that is known;
- a header whose meaning another reader could take from the other copy appears once;
- `Transfer-Encoding` is exactly `chunked`, in HTTP/1.1 only; trailers are refused, chunk extensions ignored
  and bounded, as RFC 9112 section 7.1 asks;
- the target is a path of this server; one `Host` is present.

Most heads of a connection are copies of an earlier one. A `HeadMemo` keeps what was read from a head under its exact
bytes; it answers only for bytes that hold exactly one whole request, so the long way stays the only one that joins
pieces. What is kept is never read differently: only plain heads qualify, those whose end and length nobody disputes.

An `Upgrade` is ignored unless the reader was made to honour it: some clients (Java's) offer h2c with every
request. After an error the connection is lost: the reader refuses to go on. Does not know MCP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import httptools
import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError

__all__ = [
    "HeadMemo",
    "HttpLimits",
    "HttpRequest",
    "RequestReader",
]

MAX_HEADERS: Final = 100  # thousands of tiny headers cost more than their bytes
MAX_CHUNK_SLACK: Final = 64 << 10  # head, extensions and framing that come on top of a chunked body
MAX_UNCOUNTED: Final = (
    16 << 10
)  # heads and chunks are read in such pieces, so that no read escapes the bounds
MAX_CHUNK_FACTOR: Final = 8  # a body of one-byte chunks costs six bytes each; more is padding

# Two readers that pick different copies of these would see different requests.
_SINGLE: Final = frozenset(
    {
        "authorization", "content-encoding", "content-length", "content-type", "expect", "host", "origin",
        "proxy-authorization", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


MAX_KEPT_HEADS: Final = 1024  # a client that sends ever new heads costs their reading, not our memory
MAX_KEPT_HEAD_BYTES: Final = 4 << 10
_END: Final = b"\r\n\r\n"
# The grammar of RFC 9112 without anything optional: one target, field lines with nothing folded, an empty line.
_PLAIN_HEAD: Final = re.compile(
    rb"POST /[!-~]* HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n"
)


# Heads with these are read afresh each time: they change how the message or the connection goes on.
_PECULIAR: Final = frozenset({"expect", "transfer-encoding", "upgrade"})


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How large one message may be."""

    max_head_bytes: int = 32 << 10
    max_body_bytes: int = 10 << 20
    max_headers: int = MAX_HEADERS


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One whole request. Header names are lower-case; values carry no outer blanks and are Latin-1.

    `speaks_chunks` is False for HTTP/1.0, whose clients do not know chunked answers.
    `head` is the exact head of a request that a `HeadMemo` may keep, else empty; `note` is what was kept with it.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    keep_alive: bool = True
    upgrade: bool = False
    speaks_chunks: bool = True
    head: bytes = b""
    note: object = None


class _Head(msgspec.Struct, frozen=True):
    """What a kept head says, and how long the body behind it is."""

    target: str
    headers: Mapping[str, str]
    length: int
    note: object


class HeadMemo:
    """Heads that were read before, by their exact bytes; the connections of one listener share it.

    Nothing is kept unless somebody who has judged the request asks for it, so strangers cannot fill it.
    """

    __slots__ = ("_heads", "_max_heads")

    def __init__(self, max_heads: int = MAX_KEPT_HEADS) -> None:
        self._heads: dict[bytes, _Head] = {}
        self._max_heads = max_heads

    def __len__(self) -> int:
        return len(self._heads)

    def keep(self, request: HttpRequest, note: object) -> None:
        """Remember the head of this request, if it is of the kind that may be kept, and what it was found to be."""
        if not request.head:
            return
        self._heads.pop(request.head, None)
        while len(self._heads) >= self._max_heads:
            del self._heads[next(iter(self._heads))]
        self._heads[request.head] = _Head(request.target, request.headers, len(request.body), note)

    def recall(self, data: bytes) -> HttpRequest | None:
        """The one request these bytes are, when its head is kept and its body is exactly the rest."""
        end = data.find(_END) + 4
        head = self._heads.get(data[:end])
        if head is None or len(data) - end != head.length:
            return None
        return HttpRequest(
            method="POST",
            target=head.target,
            headers=head.headers,
            body=data[end:],
            head=data[:end],
            note=head.note,
        )


class RequestReader:
    """Gives requests as soon as they are complete; pipelined ones come together, in order."""

    def __init__(
        self, limits: HttpLimits | None = None, *, honour_upgrade: bool = False, heads: HeadMemo | None = None
    ) -> None:
        self._limits = limits or HttpLimits()
        self._heads = heads
        self._honour_upgrade = honour_upgrade
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[HttpRequest] = []
        self.problem: SekishoError | None = None  # why the connection is lost
        self._is_upgraded = False
        self._is_ended = False  # upgraded, or told that this request is the last
        self._rest = bytearray()
        self.on_message_begin()
        self._in_request = False

    @property
    def in_request(self) -> bool:
        """True while a request has begun and is not complete."""
        return self._in_request

    @property
    def is_idle(self) -> bool:
        """True between two requests of a sound connection."""
        return not self._in_request and self.problem is None

    @property
    def wants_continue(self) -> bool:
        """True while the client waits for `100 Continue` before it sends the body."""
        return self._in_request and not self._in_head and not self._body and "expect" in self._headers

    @property
    def rest(self) -> bytes:
        """What followed the request that upgraded the connection."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[HttpRequest]:
        """Take the next bytes of the connection and give the requests they complete.

        Whole requests in front of a malformed one are given, and the error is in `problem`: what a client gets must
        not depend on the pieces in which its bytes arrive.

        Raises:
            Refused: `body_too_large`.
            RemoteProtocolError: `http_malformed` or `header_too_large`.
        """
        if self.problem is not None:
            raise _malformed("the connection was refused before")
        heads = self._heads
        is_between = not self._in_request and not self._is_ended
        if heads is not None and is_between and (known := heads.recall(data)) is not None:
            return [known]
        try:
            self._feed(data)
        except SekishoError as error:
            self.problem = error
            if not self._done:
                raise
        done, self._done = self._done, []
        if heads is not None and is_between and len(done) == 1:
            done[0] = _with_head(done[0], data)
        return done

    def _feed(self, data: bytes) -> None:
        while data:
            if self._is_upgraded:
                self._rest += data
                return
            if self._owed:
                data = self._take_owed(data)
                continue
            is_plain_body = self._in_request and not self._in_head and not self._is_chunked
            piece = data if is_plain_body else data[:MAX_UNCOUNTED]
            ready = len(self._done)
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as stop:
                # An ignored offer ends llhttp's message early: a fresh parser reads on after the body.
                self._parser = httptools.HttpRequestParser(self)
                data = data[stop.args[0] :]
                continue
            except httptools.HttpParserError as error:
                if isinstance(error.__context__, SekishoError):
                    raise error.__context__ from None
                raise _malformed("the request is not well-formed HTTP/1.1") from error
            data = data[len(piece) :]
            if len(self._done) == ready:  # a request begun behind another is counted from the next piece on
                self._count(len(piece))

    def _count(self, size: int) -> None:
        """Bound what the parser holds or skips without telling us: unfinished headers, chunk extensions."""
        if not self._in_request:
            return
        self._wire += size
        if self._in_head and self._wire > self._limits.max_head_bytes:
            raise _head_too_large()
        if self._is_chunked and self._wire > MAX_CHUNK_SLACK + MAX_CHUNK_FACTOR * len(self._body):
            raise _malformed("the chunks are mostly padding")

    def _take_owed(self, data: bytes) -> bytes:
        taken = data[: self._owed]
        self._owed -= len(taken)
        self.on_body(taken)
        if not self._owed:
            self.on_message_complete()
        return data[len(taken) :]

    # callbacks of httptools; an exception raised here arrives at _feed as the context of the parser's own

    def on_message_begin(self) -> None:
        """Start afresh."""
        self._in_request = True
        self._in_head = True
        self._wire = 0
        self._head_bytes = 0
        self._target = b""
        self._method = self._version = ""
        self._headers: dict[str, str] = {}
        self._count_headers = 0
        self._body: bytes | bytearray = b""
        self._is_chunked = False
        self._owed = 0
        self._keep_alive = True
        self._wants_upgrade = False

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header, or a trailer."""
        if not self._in_head:
            raise _malformed("trailers are not accepted")
        content = value or b""
        self._count_headers += 1
        self._head_bytes += len(name) + len(content) + 4
        if self._count_headers > self._limits.max_headers or self._head_bytes > self._limits.max_head_bytes:
            raise _head_too_large()
        if not collect_header(self._headers, name, content):
            raise _malformed("a header that decides something appears twice")

    def on_headers_complete(self) -> None:
        """Judge the head."""
        self._in_head = False
        if self._head_bytes + len(self._target) > self._limits.max_head_bytes:
            raise _head_too_large()
        headers = self._headers
        self._method = self._parser.get_method().decode("ascii")
        self._version = version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"} or (version == "1.1" and "host" not in headers):
            raise _malformed("HTTP/1.1 with a Host header is spoken here")
        if not (self._target.startswith(b"/") or self._target == b"*") or b"#" in self._target:
            raise _malformed("the target is a path")
        length = int(headers.get("content-length", "0"))  # llhttp has checked the digits
        if length > self._limits.max_body_bytes:
            raise self._too_large()
        coding = headers.get("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or version != "1.1"):
            raise _malformed("the only transfer coding is chunked, in HTTP/1.1")
        if headers.get("expect", "100-continue").lower() != "100-continue":
            raise _malformed("the only expectation is 100-continue")
        self._is_chunked = coding is not None
        self._keep_alive = self._parser.should_keep_alive()
        if self._parser.should_upgrade():
            self._judge_upgrade(length)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if len(self._body) + len(data) > self._limits.max_body_bytes:
            raise self._too_large()
        if not self._body:
            self._body = data  # the usual case: the body comes in one piece
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        """Hand out the request, unless the parser was told to stop before a body that we still read."""
        if self._owed:
            return
        self._in_request = False
        self._is_upgraded = self._wants_upgrade
        self._is_ended = self._is_upgraded or not self._keep_alive
        self._done.append(
            HttpRequest(
                method=self._method,
                target=self._target.decode("ascii"),
                headers=self._headers,
                body=bytes(self._body),
                keep_alive=self._keep_alive,
                upgrade=self._wants_upgrade,
                speaks_chunks=self._version != "1.0",
            )
        )

    def _judge_upgrade(self, length: int) -> None:
        if self._method == "CONNECT" or self._is_chunked:
            raise _malformed("no tunnel or upgrade is offered for this request")
        self._wants_upgrade = self._honour_upgrade and self._method == "GET" and not length
        self._owed = length

    def _too_large(self) -> Refused:
        return Refused("body_too_large", f"a body has at most {self._limits.max_body_bytes} bytes")


def _with_head(request: HttpRequest, data: bytes) -> HttpRequest:
    """The request with its head, when these bytes are it alone and every reader sees the same head and body."""
    end = data.find(_END) + 4
    length = request.headers.get("content-length")
    is_plain = (
        length is not None
        and length == str(len(data) - end)
        and end <= MAX_KEPT_HEAD_BYTES
        and len(request.body) == len(data) - end
        and request.keep_alive
        and not request.upgrade
        and request.headers.keys().isdisjoint(_PECULIAR)
        and _PLAIN_HEAD.fullmatch(data, 0, end) is not None
    )
    return msgspec.structs.replace(request, head=data[:end]) if is_plain else request


def collect_header(headers: dict[str, str], raw_name: bytes, raw_value: bytes) -> bool:
    """Add one header line; a second copy is joined with a comma where that is harmless, else False."""
    name = raw_name.decode("ascii").lower()
    # llhttp leaves blanks at the end; a reader that keeps them would see another value.
    value = raw_value.decode("latin-1").strip(" \t")
    if name not in headers:
        headers[name] = value
    elif name in _SINGLE or name.startswith("mcp-"):
        return False
    else:
        headers[name] += ", " + value
    return True


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("http_malformed", what)


def _head_too_large() -> RemoteProtocolError:
    return RemoteProtocolError("header_too_large", "the head of the request is too large")
