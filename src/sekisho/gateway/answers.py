"""What the gateway says about itself: initialize, discover, ping and list results, per era, as bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from sekisho import __version__
from sekisho.gateway.checkpoint import House
from sekisho.protocol import META_SERVER_INFO, MODERN, SUPPORTED, PluginName
from sekisho.registry import Announced, Definitions

__all__ = [
    "call_result",
    "discover_result",
    "initialize_result",
    "list_result",
    "method_result",
    "response",
    "response_parts",
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
WORTH_KEEPING: Final = (
    4 << 10
)  # bytes; answers of few lengths are nearly all there are, and so are their heads
_heads: Final[dict[int, bytes]] = {}
_COMPLETE: Final = b',"resultType":"complete"}}'  # a tool result has `content`, so a comma is due


def initialize_result(version: str, house: House, client: str, endpoint: PluginName | None) -> bytes:
    """The answer to a legacy `initialize`."""
    return _encode(
        {
            "protocolVersion": version,
            "capabilities": _announced(house, client, endpoint).told(version),
            "serverInfo": _SERVER_INFO,
            "instructions": _instructions(house, client, endpoint),
        }
    )


def discover_result(house: House, client: str, endpoint: PluginName | None) -> bytes:
    """The answer to `server/discover` (MCP 2026-07-28)."""
    head = _encode(
        {
            "supportedVersions": SUPPORTED,
            "capabilities": _announced(house, client, endpoint).told(MODERN[0]),
            "instructions": _instructions(house, client, endpoint),
        }
    )
    return head[:-1] + b"," + _MODERN_TAIL


def list_result(array: bytes, *, modern: bool, member: str = "tools", cursor: str | None = None) -> bytes:
    """The answer to a list around a prebuilt array: one page, and the cursor of the next one if there is one."""
    head = b'{"%b":%b' % (member.encode(), array)
    if cursor is not None:
        head += b',"nextCursor":' + _encode(cursor)
    return head + b"," + _MODERN_TAIL if modern else head + b"}"


def method_result(method: str, result: bytes, *, modern: bool) -> bytes:
    """The result of a method that is no tool, with what the newer era wants of it."""
    if not modern:
        return result
    tail = _MODERN_TAIL if method == "resources/read" else b'"resultType":"complete"}'
    return b"{" + tail if result == b"{}" else result[:-1] + b"," + tail


def call_result(result: bytes, *, modern: bool) -> bytes:
    """A tool result with the member that only the newer era has."""
    return result[:-1] + _COMPLETE[:-1] if modern else result


def response(request_id: int | str, result: bytes, *, is_call: bool = False) -> bytes:
    """The HTTP response with a result, written in one piece: it may be large, and each joint would copy it once more.

    Args:
        is_call: The result of a tool, which gets the member that only the newer era has.
    """
    return b"".join(response_parts(request_id, result, is_call=is_call))


def response_parts(
    request_id: int | str, result: bytes, *, is_call: bool = False
) -> tuple[bytes, bytes, bytes | memoryview, bytes]:
    """The same, as it lies in several places."""
    before = b'{"jsonrpc":"2.0","id":%b,"result":' % _encode(request_id)
    size = len(before) + len(result) + (len(_COMPLETE) - 1 if is_call else 1)
    head = _heads.get(size)
    if head is None:
        head = _HEAD % size
        if size < WORTH_KEEPING:
            _heads[size] = head
    if not is_call:
        return head, before, result, b"}"
    inner = result[:-1] if len(result) < WORTH_KEEPING else memoryview(result)[:-1]
    return head, before, inner, _COMPLETE


def _announced(house: House, client: str, endpoint: PluginName | None) -> Announced:
    """What the approved plugins of the endpoint, of which this client may use something, can do together."""
    return Announced.union(one.announced for one in _usable(house, client, endpoint))


def _instructions(house: House, client: str, endpoint: PluginName | None) -> str:
    """Ours, and behind it what one plugin was approved to say; plugins may not speak about one another's tools."""
    if endpoint is None:
        return _INSTRUCTIONS
    said = [one.instructions for one in _usable(house, client, endpoint) if one.instructions]
    return "\n\n".join([_INSTRUCTIONS, *said])


def _usable(house: House, client: str, endpoint: PluginName | None) -> Iterator[Definitions]:
    for name in sorted(house.standings) if endpoint is None else [endpoint]:
        standing = house.standings.get(name)
        if (
            standing is not None
            and standing.definitions is not None
            and house.access.permits_any(client, name)
        ):
            yield standing.definitions
