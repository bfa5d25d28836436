"""What a client says, as values: messages, the parameters of a call, the envelope.

`client_messages` and `ladder` read them.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from sekisho.protocol.json_text import JsonValue

__all__ = [
    "ClientMessage",
    "ClientNotification",
    "ClientRequest",
    "ClientResponse",
    "Envelope",
    "JsonObject",
    "ToolCall",
]

JsonObject: TypeAlias = "dict[str, JsonValue]"

_NOTHING: Final[JsonObject] = {}


class ClientRequest(msgspec.Struct, frozen=True, gc=False):
    """A question that must be answered under its id."""

    id: int | str
    method: str
    params: JsonObject


class ClientNotification(msgspec.Struct, frozen=True, gc=False):
    """A message without an answer."""

    method: str
    params: JsonObject


class ClientResponse(msgspec.Struct, frozen=True, gc=False):
    """An answer; `error` is set when the client refused. The id is None only then."""

    id: int | str | None
    result: JsonObject | None
    error: JsonObject | None


ClientMessage: TypeAlias = ClientRequest | ClientNotification | ClientResponse


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """The parameters of `tools/call`."""

    name: str
    arguments: JsonObject
    meta: JsonObject


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What a request says about itself. `version` is None when a legacy request states none."""

    modern: bool
    version: str | None = None
    capabilities: JsonObject = _NOTHING
    says_more: bool = False
    """True when a modern client declares capabilities, or wants logs; most calls do neither."""
