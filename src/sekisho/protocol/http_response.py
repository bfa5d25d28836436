"""HTTP/1.1 responses out of bytes, as events, so that an endless event stream can be read while it arrives.

Guarantees what `http1` guarantees of requests: strict syntax, bounded head and body, no message with two
lengths, no coding but `chunked`. A `text/event-stream` has no total limit, because it may live for hours;
`sse` bounds its events. A response that ends early is an error, never a short body. Interim responses (1xx)
are skipped, except 101, after which `rest` holds the bytes of the new protocol. Does not know MCP; knows no
answer to HEAD.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import httptools

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.protocol.http_head import (
    MAX_CHUNK_FACTOR,
    MAX_CHUNK_SLACK,
    collect_header,
)
from sekisho.protocol.http_response_values import (
    BodyChunk,
    HttpResponse,
    ResponseEnd,
    ResponseEvent,
    ResponseHead,
)
from sekisho.protocol.http_values import MAX_HEADERS, HttpLimits

__all__ = ["ResponseReader", "collect"]

_BODILESS: Final = frozenset({204, 304})


class ResponseReader:
    """Reads the responses of one connection, in order."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        self._limits = limits or HttpLimits()
        self._parser = httptools.HttpResponseParser(self)
        self._events: list[ResponseEvent] = []
        self._pieces: list[bytes] = []
        self._is_lost = False
        self._is_upgraded = False
        self._rest = bytearray()
        self.on_message_begin()
        self._in_response = False

    @property
    def in_response(self) -> bool:
        """True while a response has begun and is not complete."""
        return self._in_response

    @property
    def rest(self) -> bytes:
        """What followed a 101."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[ResponseEvent]:
        """Take the next bytes of the connection and give what they tell.

        Raises:
            RemoteProtocolError: `plugin_protocol` or `result_too_large`.
        """
        if self._is_lost:
            raise _malformed("the connection was refused before")
        try:
            self._feed(data)
        except SekishoError:
            self._is_lost = True
            raise
        if self._pieces:
            self._end_piece()
        events, self._events = self._events, []
        return events

    def eof(self) -> list[ResponseEvent]:
        """The connection ended: the end of a response that lasts until then, an error in any other."""
        if not self._in_response:
            return []
        self._in_response = False
        self._is_lost = True
        if self._in_head or not self._lasts_until_close:
            raise _malformed("the response ended early")
        return [ResponseEnd(keep_alive=False)]

    def _feed(self, data: bytes) -> None:
        if self._is_upgraded:
            self._rest += data
            return
        began = self._responses
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._is_upgraded = True
            self._rest += data[stop.args[0] :]
            return
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, SekishoError):
                raise error.__context__ from None
            raise _malformed("the response is not well-formed HTTP/1.1") from error
        if self._in_response and self._responses == began:
            self._count(len(data))

    def _count(self, size: int) -> None:
        self._wire += size
        if self._in_head and self._wire > self._limits.max_head_bytes:
            raise _too_large("the head of the response is too large")
        if self._is_chunked and self._wire > MAX_CHUNK_SLACK + MAX_CHUNK_FACTOR * self._body_bytes:
            raise _malformed("the chunks are mostly padding")

    # callbacks of httptools

    _responses = 0

    def on_message_begin(self) -> None:
        """Start afresh."""
        self._responses += 1
        self._in_response = True
        self._in_head = True
        self._wire = 0
        self._head_bytes = 0
        self._header_lines = 0
        self._body_bytes = 0
        self._headers: dict[str, str] = {}
        self._is_interim = False
        self._is_chunked = False
        self._is_stream = False
        self._lasts_until_close = False
        self._keep_alive = False

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header, or a trailer."""
        if not self._in_head:
            raise _malformed("trailers are not accepted")
        content = value or b""
        self._header_lines += 1
        self._head_bytes += len(name) + len(content) + 4
        if self._header_lines > MAX_HEADERS or self._head_bytes > self._limits.max_head_bytes:
            raise _too_large("the head of the response is too large")
        if not collect_header(self._headers, name, content):
            raise _malformed("a header that decides something appears twice")

    def on_headers_complete(self) -> None:
        """Judge the head."""
        self._in_head = False
        status = self._parser.get_status_code()
        coding = self._headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise _malformed("the only transfer coding is chunked")
        if self._parser.get_http_version() not in {"1.0", "1.1"} or status < 100:
            raise _malformed("HTTP/1.1 is spoken here")
        is_bodiless = status < 200 or status in _BODILESS
        # RFC 9112 section 6.3: these end with their head, whatever it says; llhttp would take what follows for a body.
        if is_bodiless and (coding is not None or self._headers.get("content-length", "0").strip("0")):
            raise _malformed("a response without a body states a length")
        self._is_interim = status < 200 and status != 101
        if self._is_interim:
            return
        self._is_chunked = coding is not None
        has_length = "content-length" in self._headers or self._is_chunked
        self._lasts_until_close = not has_length and not is_bodiless
        self._keep_alive = self._parser.should_keep_alive() and not self._lasts_until_close
        head = ResponseHead(status=status, headers=self._headers, keep_alive=self._keep_alive)
        self._is_stream = head.is_event_stream
        if (
            not self._is_stream
            and int(self._headers.get("content-length", "0")) > self._limits.max_body_bytes
        ):
            raise self._body_too_large()
        self._events.append(head)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(data)
        if not self._is_stream and self._body_bytes > self._limits.max_body_bytes:
            raise self._body_too_large()
        self._pieces.append(data)

    def _end_piece(self) -> None:
        """What one read brought of a body is one piece, however many chunks it came in."""
        pieces, self._pieces = self._pieces, []
        self._events.append(BodyChunk(pieces[0] if len(pieces) == 1 else b"".join(pieces)))

    def on_message_complete(self) -> None:
        """Say that the response is complete."""
        if self._pieces:
            self._end_piece()
        self._in_response = False
        if not self._is_interim:
            self._events.append(ResponseEnd(keep_alive=self._keep_alive))

    def _body_too_large(self) -> RemoteProtocolError:
        return _too_large(f"the response has more than {self._limits.max_body_bytes} bytes")


def collect(events: Iterable[ResponseEvent]) -> HttpResponse:
    """The response that the events of exactly one response make up."""
    match list(events):
        case [ResponseHead() as head, *middle, ResponseEnd() as end]:
            body = b"".join([event.data for event in middle if isinstance(event, BodyChunk)])
        case _:
            raise _malformed("these are not the events of one whole response")
    return HttpResponse(status=head.status, headers=head.headers, body=body, keep_alive=end.keep_alive)


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", what)


def _too_large(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("result_too_large", what)
