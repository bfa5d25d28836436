"""What travels inside frames, typed.

Guarantees that a payload is either one of these values or a `RemoteProtocolError`. `Raw` parts are carried
as they are; the room that uses them parses them by its own rules. A call has a binary head, because it is sent
for every call there is; its arguments are one JSON value without a line feed, so that they cannot become a
second message on a plugin's pipe. All else is JSON.
"""

from __future__ import annotations

import math
import struct
from typing import Final, Literal, TypeVar

import msgspec

from sekisho.errors import (
    CODES,
    LocalProtocolError,
    Misconfigured,
    Refused,
    RemoteProtocolError,
    SekishoError,
    Tampered,
    Unavailable,
)

__all__ = [
    "CallFrame",
    "FailureFrame",
    "StateFrame",
    "SurfaceFrame",
    "decode_call",
    "decode_payload",
    "encode_call",
    "encode_payload",
    "error_of",
]

MAX_MESSAGE_CHARS: Final = 500  # what a failure says ends up in errors and logs


class CallFrame(msgspec.Struct, frozen=True, gc=False):
    """Core to plugin server: run this tool. `digest` is that of the call as it was judged."""

    tool: str
    arguments: msgspec.Raw
    digest: str
    timeout_s: float
    wants_progress: bool = False


class FailureFrame(msgspec.Struct, frozen=True):
    """Plugin server to core: no result, and why."""

    code: str
    message: str


class SurfaceFrame(msgspec.Struct, frozen=True):
    """Plugin server to core: everything the plugin says about itself, verbatim."""

    server_info: msgspec.Raw
    capabilities: msgspec.Raw
    instructions: str | None = None
    tools: list[msgspec.Raw] = []
    prompts: list[msgspec.Raw] = []
    resources: list[msgspec.Raw] = []
    templates: list[msgspec.Raw] = []


class StateFrame(msgspec.Struct, frozen=True):
    """Plugin server to core: how the plugin is."""

    state: Literal["starting", "ready", "restarting", "failed"]
    detail: str = ""
    restarts: int = 0


_Payload = TypeVar("_Payload", FailureFrame, SurfaceFrame, StateFrame)
_ENCODER: Final = msgspec.json.Encoder()
_DECODERS: Final[dict[type, msgspec.json.Decoder[object]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (FailureFrame, SurfaceFrame, StateFrame)
}
_CALL: Final = struct.Struct(
    ">BHBd"
)  # wants progress, bytes of tool and digest, timeout; tool, digest, arguments
_raw: Final = msgspec.json.Decoder(msgspec.Raw)


def encode_call(frame: CallFrame) -> bytes:
    """The payload of a call; raises `LocalProtocolError` for a tool or digest no head can hold."""
    try:
        tool, digest = frame.tool.encode(), frame.digest.encode()
        head = _CALL.pack(frame.wants_progress, len(tool), len(digest), frame.timeout_s)
    except (struct.error, UnicodeEncodeError) as error:
        raise LocalProtocolError("internal", "a call's tool or digest cannot be sent") from error
    return head + tool + digest + bytes(frame.arguments)


def decode_call(payload: bytes) -> CallFrame:
    """The call in a payload; raises `RemoteProtocolError`."""
    try:
        wants_progress, tool_size, digest_size, timeout_s = _CALL.unpack_from(payload)
        at = _CALL.size + tool_size
        arguments = payload[at + digest_size :]
        tool = payload[_CALL.size : at].decode()
        digest = payload[at : at + digest_size].decode()
        raw = _raw.decode(arguments)
    except (struct.error, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise RemoteProtocolError("plugin_protocol", "a CallFrame cannot be read") from error
    if wants_progress > 1 or b"\n" in arguments or not math.isfinite(timeout_s):
        raise RemoteProtocolError("plugin_protocol", "a CallFrame says what no core says")
    return CallFrame(tool, raw, digest, timeout_s, wants_progress == 1)


def encode_payload(value: FailureFrame | SurfaceFrame | StateFrame) -> bytes:
    """The payload of a frame."""
    return _ENCODER.encode(value)


def decode_payload(payload: bytes, kind: type[_Payload]) -> _Payload:
    """The value of a payload; raises `RemoteProtocolError`."""
    try:
        value = _DECODERS[kind].decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("plugin_protocol", f"a {kind.__name__} cannot be read") from error
    if not isinstance(value, kind):
        raise RemoteProtocolError("plugin_protocol", f"a {kind.__name__} was expected")
    return value


_FAMILIES: Final[dict[str, type[SekishoError]]] = {
    "busy": Unavailable,
    "plugin_unavailable": Unavailable,
    "plugin_timeout": Unavailable,
    "plugin_exited": Unavailable,
    "plugin_protocol": RemoteProtocolError,
    "result_too_large": RemoteProtocolError,
    "result_invalid": RemoteProtocolError,
    "peer_untrusted": Tampered,
    "seal_broken": Tampered,
    "sandbox_unavailable": Misconfigured,
    "config_invalid": Misconfigured,
    "key_unavailable": Misconfigured,
    "internal": LocalProtocolError,
}


def error_of(failure: FailureFrame) -> SekishoError:
    """The error a failure stands for; a code we do not know is the other side's mistake."""
    message = failure.message[:MAX_MESSAGE_CHARS]
    if failure.code not in CODES:
        return RemoteProtocolError(
            "plugin_protocol", f"the plugin server failed with an unknown code: {message}"
        )
    return _FAMILIES.get(failure.code, Refused)(failure.code, message)
