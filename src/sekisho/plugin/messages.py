"""JSON-RPC 2.0 on lines, read strictly: one meaning or none.

Guarantees that a line which was read has no duplicate keys, no NaN, no number nobody can carry, no depth that exhausts
the stack and no key of its own invention in the envelope; and that whatever cannot be read is named by the code JSON-RPC
has for it. Judgement only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "MAX_LINE_BYTES",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "Ident",
    "Message",
    "RpcRefusal",
    "error_line",
    "notification_line",
    "read_line",
    "result_line",
]

MAX_LINE_BYTES: Final = 4 << 20  # one message must not exhaust memory
MAX_DEPTH: Final = 64
MAX_METHOD_CHARS: Final = 128
MAX_IDENT_CHARS: Final = 256
MAX_WHOLE: Final = 1 << 63
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
Ident = str | int


class RpcRefusal(Exception):
    """An answer that is a JSON-RPC error."""

    def __init__(
        self, code: int, message: str, *, data: Mapping[str, object] | None = None, ident: Ident | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.ident = ident


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request, or without `ident` a notification."""

    method: str
    params: Mapping[str, Any]
    ident: Ident | None


def read_line(line: bytes) -> Message | None:
    """The message on a line; None for an answer, which nobody here has asked for.

    Raises:
        RpcRefusal: it is none, with the code to answer.
    """
    if len(line) > MAX_LINE_BYTES:
        raise RpcRefusal(INVALID_REQUEST, "the message is too long")
    try:
        value = json.loads(
            line.decode("utf-8"),  # json would take UTF-16 as well
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded_int,
        )
    except (ValueError, RecursionError):
        raise RpcRefusal(PARSE_ERROR, "this is not JSON, or not JSON with one meaning") from None
    if not isinstance(value, dict):
        raise RpcRefusal(INVALID_REQUEST, "one message a line, and no batches")
    return _read_envelope(value)


def _read_envelope(value: dict[str, Any]) -> Message | None:
    ident = value.get("id")
    is_ident = (isinstance(ident, int) and not isinstance(ident, bool)) or (
        isinstance(ident, str) and len(ident) <= MAX_IDENT_CHARS
    )
    if value.get("jsonrpc") != "2.0":
        raise RpcRefusal(INVALID_REQUEST, "jsonrpc must be 2.0", ident=ident if is_ident else None)
    if "method" not in value and ("result" in value or "error" in value):
        return None
    if "id" in value and not is_ident:
        raise RpcRefusal(INVALID_REQUEST, "id must be a text or a whole number")
    method, params = value.get("method"), value.get("params", {})
    if not isinstance(method, str) or not 0 < len(method) <= MAX_METHOD_CHARS:
        raise RpcRefusal(INVALID_REQUEST, "method must be a text", ident=ident)
    if not isinstance(params, dict):
        raise RpcRefusal(INVALID_REQUEST, "params must be an object", ident=ident)
    if value.keys() - {"jsonrpc", "id", "method", "params"}:
        raise RpcRefusal(INVALID_REQUEST, "the message has members that JSON-RPC does not know", ident=ident)
    if not _is_shallow(params, MAX_DEPTH):
        raise RpcRefusal(INVALID_REQUEST, "the message is nested too deeply", ident=ident)
    return Message(method=method, params=params, ident=ident)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number beyond every float")
    return value


def _bounded_int(text: str) -> int:
    value = int(text)
    if abs(value) > MAX_WHOLE:
        raise ValueError("a number beyond 64 bits")
    return value


def _is_shallow(value: object, depth: int) -> bool:
    """Level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(depth):
        level = [
            one
            for node in level
            if isinstance(node, dict | list)
            for one in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return True
    return not any(isinstance(node, dict | list) for node in level)


def result_line(ident: Ident, result: Mapping[str, object]) -> bytes:
    """An answer."""
    return _line({"jsonrpc": "2.0", "id": ident, "result": result})


def error_line(refusal: RpcRefusal, ident: Ident | None) -> bytes:
    """An answer that says no."""
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.data is not None:
        error["data"] = refusal.data
    return _line({"jsonrpc": "2.0", "id": ident if ident is not None else refusal.ident, "error": error})


def notification_line(method: str, params: Mapping[str, object]) -> bytes:
    """Something nobody answers."""
    return _line({"jsonrpc": "2.0", "method": method, "params": params})


def _line(message: Mapping[str, object]) -> bytes:
    # ASCII: a lone surrogate in an id goes back as it came, and no reader splits the line at U+2028.
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
