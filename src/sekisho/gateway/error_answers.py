"""How an error is written for a client: the number, the HTTP status and the headers that its era expects. Pure.

Guarantees that a client of either era reads its own number for what is not there, that no status makes a legacy client
believe its session gone, and that a plugin's error (which `returns` judged) names the call it belongs to.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.errors import PluginError, RateLimited, SekishoError
from sekisho.protocol import error_bytes

__all__ = ["headers_of", "own_error", "plugins_error"]

_NOT_FOUND: Final = (-32002, -32602)  # a resource that is not there: until 2025-11-25, and since
_MODERN_STATUS_CODES: Final = frozenset({"method_unknown", "plugin_unknown", "capability_missing"})
_MODERN_STATUS: Final = {-32601: 404, -32020: 400, -32021: 400, -32022: 400}
_encode: Final = msgspec.json.Encoder().encode


def own_error(
    error: SekishoError, ident: int | str | None, call_id: str, *, modern: bool
) -> tuple[bytes, int]:
    """The message and the status of a refusal of ours."""
    number, status = error.info.rpc_code, error.info.http_status
    if not modern:
        if error.code == "resource_unknown":
            number = _NOT_FOUND[0]
        if ident is not None and error.code in _MODERN_STATUS_CODES:
            status = 200  # to a legacy client 404 means that its session is gone, 400 that it is unreadable
    return error_bytes(ident, error, call_id=call_id, number=number), status


def plugins_error(
    error: PluginError, ident: int | str | None, call_id: str, method: str, *, modern: bool
) -> tuple[bytes, int]:
    """The message and the status of a plugin's own error."""
    told = msgspec.json.decode(error.body)
    told["data"]["call"] = call_id
    if method == "resources/read" and told["code"] in _NOT_FOUND:
        told["code"] = _NOT_FOUND[1] if modern else _NOT_FOUND[0]
    status = _MODERN_STATUS.get(told["code"], 200) if modern else 200
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (_encode(ident), _encode(told)), status


def headers_of(error: SekishoError, status: int) -> list[tuple[str, str]]:
    """What a client can do next, where HTTP has a header for it."""
    headers = []
    if status == 405:
        headers.append(("Allow", "GET, POST, DELETE"))
    if isinstance(error, RateLimited):
        headers.append(("Retry-After", str(max(1, round(error.retry_after_s + 0.5)))))
    return headers
