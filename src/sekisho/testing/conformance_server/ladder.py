"""What HTTP adds to a modern request: the headers that mirror the body, and the status of an error."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from .content import TOOLS, Json
from .exchange import META, Refusal
from .jobs import METHODS

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_NAMED |= dict.fromkeys(METHODS, "taskId")
_MIRRORED = {
    tool["name"]: {
        name: schema["x-mcp-header"]
        for name, schema in tool["inputSchema"]["properties"].items()
        if "x-mcp-header" in schema
    }
    for tool in TOOLS
}
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")
_STATUS = {-32601: 404, -32602: 400, -32020: 400, -32021: 400, -32022: 400, -32700: 400, -32600: 400}


def status_of(response: Json) -> int:
    """The HTTP status a modern response has."""
    return _STATUS.get(response["error"]["code"], 200) if "error" in response else 200


def check_headers(request: Json, headers: Mapping[str, str]) -> None:
    """Every mirrored value equals the body's (SEP-2243)."""
    method, params = str(request.get("method")), request.get("params") or {}
    _same("mcp-method", headers, method)
    meta = params.get("_meta")
    if isinstance(meta, dict) and META + "protocolVersion" in meta:
        _same("mcp-protocol-version", headers, str(meta[META + "protocolVersion"]))
    if method in _NAMED and _NAMED[method] in params:
        _same("mcp-name", headers, str(params[_NAMED[method]]))
    if method == "tools/call":
        arguments = params.get("arguments") or {}
        for argument, suffix in _MIRRORED.get(params.get("name"), {}).items():
            if argument in arguments:
                _same(f"mcp-param-{suffix.lower()}", headers, str(arguments[argument]))


def _same(name: str, headers: Mapping[str, str], wanted: str) -> None:
    if name not in headers:
        raise Refusal(-32020, f"the header {name} is missing")
    if decoded(headers[name]) != wanted:
        raise Refusal(-32020, f"the header {name} differs from the body")


def decoded(value: str) -> str:
    """A header's value; what is marked as base64 must be base64."""
    marked = _ENCODED.fullmatch(value)
    if marked is None:
        return value
    try:
        return base64.b64decode(marked[1], validate=True).decode()
    except ValueError:
        raise Refusal(-32020, "a header's base64 is broken") from None
