"""A call as a payload, and back: a binary head, because it is sent for every call there is, then JSON.

Guarantees that a payload is a call whose arguments are one JSON value without a line feed, so that they cannot become a
second message on a plugin's pipe, or a `RemoteProtocolError`.
"""

from __future__ import annotations

import math
import struct
from typing import Final

import msgspec

from sekisho.errors import LocalProtocolError, RemoteProtocolError
from sekisho.wire.messages import CallContext

__all__ = ["CallFrame", "decode_call", "decode_context", "encode_call", "encode_context"]

# Wants progress, bytes of tool, digest and context, timeout; then tool, digest, context, arguments.
_CALL: Final = struct.Struct(">BHBId")
_CALL_BYTES: Final = 16
_LINE_FEED: Final = 0x0A  # as a number: looking for bytes, Python raises and drops an error first
_contexts: Final = msgspec.json.Decoder(CallContext)
_raw: Final = msgspec.json.Decoder(msgspec.Raw)
_NO_CONTEXT: Final = CallContext()
_encode: Final = msgspec.json.Encoder().encode
_isfinite: Final = math.isfinite


class CallFrame:
    """Core to plugin server: run this tool, or with a "/" in its name this method.

    `digest` is that of the call as it was judged. `context` is empty or the JSON of a `CallContext`. Every attribute is
    final, and cannot be changed where this is compiled; a plain class, because compiled code reads nothing faster.
    """

    __slots__ = ("arguments", "context", "digest", "timeout_s", "tool", "wants_progress")

    def __init__(
        self,
        tool: str,
        arguments: bytes,
        digest: str,
        timeout_s: float,
        *,
        wants_progress: bool = False,
        context: bytes = b"",
    ) -> None:
        self.tool: Final = tool
        self.arguments: Final = arguments
        self.digest: Final = digest
        self.timeout_s: Final = timeout_s
        self.wants_progress: Final = wants_progress
        self.context: Final = context

    def within(self, timeout_s: float) -> CallFrame:
        """The same call with less time."""
        return CallFrame(
            self.tool,
            self.arguments,
            self.digest,
            timeout_s,
            wants_progress=self.wants_progress,
            context=self.context,
        )


def encode_call(frame: CallFrame) -> bytes:
    """The payload of a call; raises `LocalProtocolError` for a tool or digest no head can hold."""
    try:
        tool, digest = frame.tool.encode(), frame.digest.encode()
        head = _CALL.pack(frame.wants_progress, len(tool), len(digest), len(frame.context), frame.timeout_s)
    except (struct.error, UnicodeEncodeError) as error:
        raise LocalProtocolError("internal", "a call's tool or digest cannot be sent") from error
    return b"".join((head, tool, digest, frame.context, frame.arguments))


def decode_call(payload: bytes) -> CallFrame:
    """The call in a payload; raises `RemoteProtocolError`."""
    head: tuple[
        int, int, int, int, float
    ]  # said to the compiler: sums and slices of what it does not know are dear
    try:
        head = _CALL.unpack_from(payload)
        wants_progress, tool_size, digest_size, context_size, timeout_s = head
        at = _CALL_BYTES + tool_size
        tool = payload[_CALL_BYTES:at].decode()
        end = at + digest_size
        digest = payload[at:end].decode()
        at = end + context_size
        context = payload[end:at] if context_size else b""
        arguments = payload[at:]
        raw = _raw.decode(arguments)
        value = arguments if len(raw) == len(arguments) else bytes(raw)  # else there are blanks around it
    except (struct.error, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise RemoteProtocolError("plugin_protocol", "a CallFrame cannot be read") from error
    if wants_progress > 1 or _LINE_FEED in arguments or _LINE_FEED in context or not _isfinite(timeout_s):
        raise RemoteProtocolError("plugin_protocol", "a CallFrame says what no core says")
    return CallFrame(tool, value, digest, timeout_s, wants_progress=wants_progress == 1, context=context)


def encode_context(context: CallContext) -> bytes:
    """The context as a call carries it."""
    return _encode(context)


def decode_context(context: bytes) -> CallContext:
    """The context of a call; raises `RemoteProtocolError`."""
    if not context:
        return _NO_CONTEXT
    try:
        return _contexts.decode(context)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("plugin_protocol", "the context of a call cannot be read") from error
