"""Server-sent events as an HTTP/1.1 answer in chunks (WHATWG HTML section 9.2; RFC 9112 section 7.1). Pure.

Every message is one line of our own JSON, so it needs no escaping and fits one `data` field.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "COMMENT",
    "LAST_CHUNK",
    "LAST_STREAM_HEAD",
    "STREAM_HEAD",
    "endpoint_event",
    "event",
    "last_event",
    "marked_event",
    "priming_event",
    "progress_events",
]

# A stream is read as it comes: nobody on the way may keep it or wait for its end.
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK: Final = b"0\r\n\r\n"
_FIELD: Final = b"\r\nevent: message\ndata: "
_FIELD_BYTES: Final = len(b"event: message\ndata: \n\n")
_LAST_END: Final = b"\n\n\r\n" + LAST_CHUNK
LAST_STREAM_HEAD: Final = STREAM_HEAD[:-2] + b"Connection: close\r\n\r\n"


def event(message: bytes) -> bytes:
    """One message."""
    return _event(message, b"\n\n\r\n")


def progress_events(token: bytes, progress: bytes) -> bytes:
    """Progress notifications in one chunk: what was judged, an object on each line, under the client's token (JSON)."""
    before = (
        b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'
        + token
        + b","
    )
    # in our own spelling a line feed stands between two notes and nowhere else
    notes = (b"}\n\n" + before).join(progress[1:].split(b"\n{"))  # quicker than to replace
    return b"".join((b"%x\r\n" % (len(before) + len(notes) + 3), before, notes, b"}\n\n\r\n"))


def last_event(message: bytes) -> bytes:
    """The message that ends a stream."""
    return _event(message, _LAST_END)


def endpoint_event(address: str) -> bytes:
    """Where a client of the oldest transport posts (MCP 2024-11-05)."""
    return _chunk(b"event: endpoint\ndata: %b\n\n" % address.encode("ascii"))


def priming_event(ident: bytes, retry_ms: int) -> bytes:
    """The first event of a stream that can be resumed: a place to come back to, and when (MCP 2025-11-25)."""
    return _chunk(b"id: %b\nretry: %d\ndata: \n\n" % (ident, retry_ms))


def marked_event(chunk: bytes, ident: bytes) -> bytes:
    """A chunk of `event` or `progress_events` whose last event has an id."""
    data = chunk[chunk.index(b"\r\n") + 2 : -2]
    last = data.rfind(b"\n\nevent: ") + 2 if data.count(b"\n\n") > 1 else 0
    return _chunk(b"%bid: %b\n%b" % (data[:last], ident, data[last:]))


def _event(message: bytes, end: bytes) -> bytes:
    """In one piece: each joint would copy it once more."""
    return b"".join((b"%x" % (len(message) + _FIELD_BYTES), _FIELD, message, end))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


COMMENT: Final = _chunk(b":\n\n")  # keeps a quiet stream open through proxies that cut idle ones
