"""What travels inside frames, typed.

Guarantees that a payload is either one of these values or a `RemoteProtocolError`. `Raw` parts are carried
as they are; the room that uses them parses them by its own rules. A call stands in `calls`, because it is not JSON.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

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
    "AnswerFrame",
    "AskFrame",
    "CallContext",
    "DenialFrame",
    "EventFrame",
    "FailureFrame",
    "StateFrame",
    "SurfaceFrame",
    "decode_payload",
    "encode_payload",
    "error_of",
]

MAX_MESSAGE_CHARS: Final = 500  # what a failure says ends up in errors and logs


class CallContext(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Who asks, in so far as the plugin's side has to know; what is not said is not allowed.

    Attributes:
        scope: An opaque name of the client's session, or of the client where it has none.
        style: How the client can be asked in the midst of a call: in "rounds" of whole calls, or on its "stream".
        may_ask: What the plugin may ask of this client: what it declared and the operator allows. With "tasks" among
            it, a call may be answered with a task.
        log_level: Of the log messages this call wants; None: what the scope has set, or nothing.
        meta: Further members of the client's `_meta`, such as trace context.
        input_responses: What the client answered to the questions of the round before.
        request_state: What the plugin server gave the round before.
        instance: An opaque name of whom the plugin has a process of its own for; empty: all share one.
    """

    scope: str = ""
    style: Literal["rounds", "stream"] = "rounds"
    may_ask: tuple[str, ...] = ()
    log_level: str | None = None
    meta: msgspec.Raw = msgspec.Raw()
    input_responses: msgspec.Raw = msgspec.Raw()
    request_state: str | None = None
    instance: str = ""


class AskFrame(msgspec.Struct, frozen=True, gc=False):
    """Plugin server to core: the plugin asks the client in the midst of a call. `ask` names the question."""

    ask: str
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class AnswerFrame(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Core to plugin server: what the client answered; exactly one of `result` and `error` is set."""

    scope: str
    ask: str
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class EventFrame(msgspec.Struct, frozen=True, gc=False):
    """Plugin server to core: a notification within a call that is not about its progress."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class FailureFrame(msgspec.Struct, frozen=True):
    """Plugin server to core: no result, and why."""

    code: str
    message: str


class SurfaceFrame(msgspec.Struct, frozen=True):
    """Plugin server to core: everything the plugin says about itself, verbatim.

    `tree` is the plugin server's own word: the digest of the package that the plugin runs from, or nothing.
    """

    server_info: msgspec.Raw
    capabilities: msgspec.Raw
    instructions: str | None = None
    tools: list[msgspec.Raw] = []
    prompts: list[msgspec.Raw] = []
    resources: list[msgspec.Raw] = []
    templates: list[msgspec.Raw] = []
    tree: Annotated[str, msgspec.Meta(pattern=r"\A(?:sha256:[0-9a-f]{64})?\Z")] = ""


# What a plugin server says goes into the log and is counted: it may neither fill the one nor turn the other back.
MAX_SAID_CHARS: Final = 400
MAX_COUNT: Final = 1 << 53  # the largest number that every reader of JSON takes for what it is


class StateFrame(msgspec.Struct, frozen=True):
    """Plugin server to core: how the plugin is."""

    state: Literal["starting", "ready", "restarting", "failed", "idle"]
    detail: Annotated[str, msgspec.Meta(max_length=MAX_SAID_CHARS)] = ""
    restarts: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)] = 0


DenialKind = Literal[
    "dns",
    "connect",
    "host",
    "secret",
    "transfer",
    "path",
    "disk",
    "memory",
    "pids",
    "timeout",
    "seccomp",
    "permission",
    "learned",
]
_DenialText = Annotated[str, msgspec.Meta(max_length=MAX_SAID_CHARS)]


class DenialFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """Plugin server to core: a wall refused something; the number of the frame is the number of the denial.

    One kind is none: what was `learned` went through, only because its wall is learning, and belongs into the log too.

    `rule` is the setting that said no, `target` what was asked for, `left_out` how many before it were not told.
    """

    kind: DenialKind
    rule: _DenialText
    reason: _DenialText
    target: _DenialText = ""
    left_out: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)] = 0


_Payload = TypeVar(
    "_Payload", FailureFrame, SurfaceFrame, StateFrame, AskFrame, AnswerFrame, EventFrame, DenialFrame
)
_ENCODER: Final = msgspec.json.Encoder()
_DECODERS: Final[dict[type, msgspec.json.Decoder[object]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (FailureFrame, SurfaceFrame, StateFrame, AskFrame, AnswerFrame, EventFrame, DenialFrame)
}


def encode_payload(
    value: FailureFrame | SurfaceFrame | StateFrame | AskFrame | AnswerFrame | EventFrame | DenialFrame,
) -> bytes:
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
