"""What a client says: JSON-RPC 2.0 messages of MCP, read whole and once.

Guarantees
- The value that is judged is the value that is written out again: a text is decoded, encoded in our own spelling
  and compared. When both are equal no member was dropped as a duplicate, no number was rounded and nothing trails;
  any other text is read once more by a reader that reports every pair, and refused if one is named twice.
- A message is an object with `jsonrpc` "2.0" and known members only, spelled exactly. Ids are integers or strings.
- A member of `params` that differs from a known one in case only is refused: some readers would take it for ours.

Does not know methods, revisions or headers (`ladder` does), nor what a tool's arguments mean. What a plugin says is
read by `messages`, which leaves results raw.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.client_values import (
    ClientMessage,
    ClientNotification,
    ClientRequest,
    ClientResponse,
    JsonObject,
    ToolCall,
)
from sekisho.protocol.json_text import JsonLimits, JsonValue, check_text, decode_distinct

__all__ = ["parse_client_batch", "parse_client_message", "parse_tool_call", "refuse_variants"]

MAX_ID_BYTES: Final = 256  # ids are kept and copied for every call in flight
MAX_NAME_CHARS: Final = 256  # "<plugin>__<tool>" at its longest is 162

_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_CALL_MEMBERS: Final = frozenset({"name", "arguments", "_meta"})
_MAX_INTEGER: Final = 10 ** (MAX_ID_BYTES - 1)
_METHOD: Final = re.compile(r"[A-Za-z0-9_$./-]{1,128}")
_NOTHING: Final[JsonObject] = {}


def parse_client_message(data: bytes, limits: JsonLimits) -> ClientMessage:
    """Read one message.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_*`, `batch_refused` or `message_invalid`.
    """
    check_text(data, limits)
    value = decode_distinct(data, fast_from=0)[0]
    if isinstance(value, list):
        raise RemoteProtocolError("batch_refused", "batches are not accepted")
    return _message(value)


def parse_client_batch(data: bytes, limits: JsonLimits, *, most: int) -> list[ClientMessage]:
    """Read an array of messages: all of them, or none.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_*`, `batch_refused` or `message_invalid`.
    """
    check_text(data, limits)
    value = decode_distinct(data, fast_from=0)[0]
    if not isinstance(value, list) or not value:
        raise _invalid("a batch is an array of messages")
    if len(value) > most:
        raise RemoteProtocolError("batch_refused", f"a batch has at most {most} messages")
    return [_message(one) for one in value]


def _message(value: JsonValue) -> ClientMessage:
    if type(value) is not dict:
        raise _invalid("the message is not an object")
    stated, method, params = value.get("jsonrpc"), value.get("method"), value.get("params", _NOTHING)
    # a request has these four members, nearly always; then it has no other, and no set is asked, which is dearer
    is_usual = len(value) == 4 and bool(method) and params is not _NOTHING and "id" in value
    if not is_usual and not _MEMBERS.issuperset(value):
        raise _invalid("the message has members that JSON-RPC does not know")
    if not isinstance(stated, str) or stated != "2.0":
        raise _invalid("jsonrpc is not 2.0")
    if method is None:
        return _response(value)
    if not isinstance(method, str) or (method != "tools/call" and not _is_method(method)):
        raise _invalid("the method is not a method name")
    if is_usual and isinstance(params, dict):
        return ClientRequest(_id(value["id"]), method, params)
    if not isinstance(params, dict) or "result" in value or "error" in value:
        raise _invalid("params is an object, and a request has no result or error")
    if "id" not in value:
        return ClientNotification(method, params)
    return ClientRequest(_id(value["id"]), method, params)


def parse_tool_call(params: JsonObject) -> ToolCall:
    """Read the parameters of `tools/call`. Unknown members are ignored, not kept.

    Raises:
        RemoteProtocolError: `params_invalid`.
    """
    name = params.get("name")
    arguments, meta = params.get("arguments", _NOTHING), params.get("_meta", _NOTHING)
    # asking a set would be dearer than counting what was found
    if ("name" in params) + (arguments is not _NOTHING) + (meta is not _NOTHING) != len(params):
        refuse_variants(params, _CALL_MEMBERS)
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise _bad_params("tools/call needs a name, a short string")
    if not isinstance(arguments, dict) or not isinstance(meta, dict):
        raise _bad_params("arguments and _meta are objects")
    return ToolCall(name, arguments, meta)


def refuse_variants(members: JsonObject, known: frozenset[str]) -> None:
    """Refuse near-copies of known names: some readers match names without case, by Unicode folding."""
    folded = _folded(known)
    for name in members.keys() - known:
        if name.casefold() in folded:  # "Name" and "argumentſ" are ours to such a reader
            raise _bad_params("a member differs from a known one in case only")


@lru_cache(maxsize=256)  # asked for every message, and methods are few
def _is_method(text: str) -> bool:
    return _METHOD.fullmatch(text) is not None


@cache
def _folded(known: frozenset[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in known)


def _response(value: JsonObject) -> ClientResponse:
    result, error = value.get("result"), value.get("error")
    if (
        "method" in value
        or "params" in value
        or "id" not in value
        or ("result" in value) == ("error" in value)
    ):
        raise _invalid("a response has an id and exactly one of result and error")
    if value["id"] is None and isinstance(error, dict):
        return ClientResponse(None, None, error)
    ident = _id(value["id"])
    if isinstance(result, dict):
        return ClientResponse(ident, result, None)
    if isinstance(error, dict):
        return ClientResponse(ident, None, error)
    raise _invalid("a result or error is an object")


def _id(value: JsonValue) -> int | str:
    if type(value) is int and -_MAX_INTEGER < value < _MAX_INTEGER:
        return value
    if isinstance(value, str) and len(value) < MAX_ID_BYTES and len(value.encode()) < MAX_ID_BYTES:
        return value
    raise _invalid("the id is a short string or an integer")


def _invalid(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("message_invalid", what)


def _bad_params(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("params_invalid", what)
