"""What the gateway says itself, per era, as bytes: of itself, in lists, and around what a plugin answered. Pure.

A result of a plugin gets the id of its call in `_meta` (`META_CALL`), so that whoever holds it finds it in the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from sekisho import __version__
from sekisho.gateway.checkpoint import House
from sekisho.protocol import META_CALL, META_SERVER_INFO, MODERN, SUPPORTED, PluginName
from sekisho.registry import Announced, Definitions

__all__ = [
    "call_response",
    "call_response_parts",
    "call_result",
    "discover_result",
    "initialize_result",
    "list_result",
    "message",
    "method_result",
    "response",
]

_SERVER_INFO = {"name": "sekisho", "title": "Sekisho", "version": __version__}
_INSTRUCTIONS = (
    "Every tool here runs behind a gate: calls are checked, limited and recorded. "
    "A refusal names a code and what to do next."
)
# Lists are filtered per client and change on approval, so they may not be kept or shared (MCP 2026-07-28, caching).
_KEEP_NOTHING = msgspec.json.encode({"resultType": "complete", "ttlMs": 0, "cacheScope": "private"})[1:-1]
_WHO_ANSWERS = msgspec.json.encode({META_SERVER_INFO: _SERVER_INFO})[1:-1]
_MODERN_TAIL = b'%b,"_meta":{%b}}' % (_KEEP_NOTHING, _WHO_ANSWERS)


_encode: Final = msgspec.json.Encoder().encode
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
WORTH_KEEPING: Final = (
    4 << 10
)  # bytes; answers of few lengths are nearly all there are, and so are their heads
_heads: Final[dict[int, bytes]] = {}
_CALL: Final = b'"%b":"' % META_CALL.encode()
_FIRST: Final = b'"_meta":{' + _CALL
_BEHIND_META: Final = b"," + _CALL
_BEHIND_ALL: Final = b"," + _FIRST
# What closes a call's `_meta` and the result, in each era.
_LEGACY_END: Final = b'"}}'
_MODERN_END: Final = b'"},"resultType":"complete"}'
_READ_END: Final = b'",%b},%b}' % (_WHO_ANSWERS, _KEEP_NOTHING)
_BEFORE_ID: Final = b'{"jsonrpc":"2.0","id":'
_BEFORE_RESULT: Final = b',"result":'
_AROUND: Final = len(_BEFORE_ID + _BEFORE_RESULT + b"}")


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


def method_result(method: str, result: bytes, call_id: str, *, has_meta: bool, modern: bool) -> bytes:
    """The result of a method that is no tool, with its call and what the newer era wants of it."""
    is_read = modern and method == "resources/read"
    inner, end = _end(result, call_id, _READ_END if is_read else _end_in(modern=modern), has_meta=has_meta)
    return result[:inner] + end


def call_result(result: bytes, call_id: str, *, has_meta: bool, modern: bool) -> bytes:
    """The result of a tool, with its call and the member that only the newer era has.

    Args:
        result: Not an empty object.
        has_meta: It ends with the members of a `_meta`.
    """
    inner, end = _end(result, call_id, _end_in(modern=modern), has_meta=has_meta)
    return result[:inner] + end


def call_response(
    request_id: int | str, result: bytes, call_id: str, *, has_meta: bool, modern: bool
) -> bytes:
    """The HTTP response with the result of a tool, written in one piece: each joint would copy it once more."""
    ident = _encode(request_id)
    inner, end = _end(result, call_id, _end_in(modern=modern), has_meta=has_meta)
    head = _head(_AROUND + len(ident) + inner + len(end))
    return b"".join((head, _BEFORE_ID, ident, _BEFORE_RESULT, result[:inner], end, b"}"))


def call_response_parts(
    request_id: int | str, result: bytes | memoryview, call_id: str, *, has_meta: bool, modern: bool
) -> tuple[bytes, bytes, memoryview, bytes]:
    """The same for a large one, as it lies in several places."""
    before = _before(request_id)
    size, end = _end(result, call_id, _end_in(modern=modern), has_meta=has_meta)
    return _head(len(before) + size + len(end) + 1), before, memoryview(result)[:size], end + b"}"


def message(request_id: int | str, result: bytes) -> bytes:
    """The message alone, as an event has it."""
    return b"".join((_before(request_id), result, b"}"))


def response(request_id: int | str, result: bytes) -> bytes:
    """The HTTP response with a result that says all it should."""
    return b"".join(response_parts(request_id, result))


def response_parts(request_id: int | str, result: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The same, as it lies in several places."""
    before = _before(request_id)
    return _head(len(before) + len(result) + 1), before, result, b"}"


def _before(request_id: int | str) -> bytes:
    return _BEFORE_ID + _encode(request_id) + _BEFORE_RESULT


def _end_in(*, modern: bool) -> bytes:
    return _MODERN_END if modern else _LEGACY_END


def _end(result: bytes | memoryview, call_id: str, closing: bytes, *, has_meta: bool) -> tuple[int, bytes]:
    """How much of a result stays, and what takes the place of the rest: its call, in `_meta`, and what is behind that."""
    if has_meta:
        return len(result) - 2, _BEHIND_META + call_id.encode() + closing
    before = _BEHIND_ALL if len(result) > 2 else _FIRST
    return len(result) - 1, before + call_id.encode() + closing


def _head(size: int) -> bytes:
    head = _heads.get(size)
    if head is None:
        head = _HEAD % size
        if size < WORTH_KEEPING:
            _heads[size] = head
    return head


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
