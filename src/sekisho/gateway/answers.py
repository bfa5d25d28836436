"""What the gateway says about itself: initialize, discover, ping and list results, per era, as bytes. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho import __version__
from sekisho.protocol import META_SERVER_INFO, SUPPORTED

__all__ = [
    "STREAM_HEAD",
    "call_result",
    "discover_result",
    "initialize_result",
    "last_event",
    "list_result",
    "progress_events",
    "response",
]

_SERVER_INFO = {"name": "sekisho", "title": "Sekisho", "version": __version__}
_INSTRUCTIONS = (
    "Every tool here runs behind a gate: calls are checked, limited and recorded. "
    "A refusal names a code and what to do next."
)
# Lists are filtered per client and change on approval, so they may not be kept or shared (MCP 2026-07-28, caching).
_MODERN_TAIL = msgspec.json.encode(
    {
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {META_SERVER_INFO: _SERVER_INFO},
    }
)[1:]


_encode: Final = msgspec.json.Encoder().encode
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
# A stream is read as it comes: nobody on the way may keep it or wait for its end (SSE, HTML section 9.2).
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_COMPLETE: Final = b',"resultType":"complete"}}'  # a tool result has `content`, so a comma is due


def initialize_result(version: str) -> bytes:
    """The answer to a legacy `initialize`."""
    return msgspec.json.encode(
        {
            "protocolVersion": version,
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": _SERVER_INFO,
            "instructions": _INSTRUCTIONS,
        }
    )


def discover_result() -> bytes:
    """The answer to `server/discover` (MCP 2026-07-28)."""
    head = msgspec.json.encode(
        {
            "supportedVersions": list(SUPPORTED),
            "capabilities": {"tools": {"listChanged": False}},
            "instructions": _INSTRUCTIONS,
        }
    )
    return head[:-1] + b"," + _MODERN_TAIL


def list_result(tools: bytes, *, modern: bool) -> bytes:
    """The answer to `tools/list` around a prebuilt array."""
    if modern:
        return b'{"tools":' + tools + b"," + _MODERN_TAIL
    return b'{"tools":' + tools + b"}"


def call_result(result: bytes, *, modern: bool) -> bytes:
    """A tool result with the member that only the newer era has."""
    return result[:-1] + _COMPLETE[:-1] if modern else result


def response(request_id: int | str, result: bytes, *, is_call: bool = False) -> bytes:
    """The HTTP response with a result, written in one piece: it may be large, and each joint would copy it once more.

    Args:
        is_call: The result of a tool, which gets the member that only the newer era has.
    """
    before = b'{"jsonrpc":"2.0","id":' + _encode(request_id) + b',"result":'
    inner, after = (memoryview(result)[:-1], _COMPLETE) if is_call else (result, b"}")
    return b"".join((_HEAD % (len(before) + len(inner) + len(after)), before, inner, after))


def progress_events(token: bytes, progress: list[bytes]) -> bytes:
    """Progress notifications as server-sent events in one chunk: what was judged, under the client's token (JSON)."""
    before = (
        b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'
        + token
        + b","
    )
    return _chunk(b"".join([before + one[1:] + b"}\n\n" for one in progress]))


def last_event(message: bytes) -> bytes:
    """The event that ends a stream; our JSON holds no line ends."""
    return _chunk(b"event: message\ndata: %b\n\n" % message) + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
