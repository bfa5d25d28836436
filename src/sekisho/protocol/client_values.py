"""What a client says, as values: messages, the parameters of a call, the envelope.

`client_messages` and `ladder` read them. Every attribute is final, and cannot be changed where this is compiled.
"""

from __future__ import annotations

from typing import Final, TypeAlias

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


class ClientRequest:  # noqa: PLW1641  # it holds dictionaries, so it has no hash
    """A question that must be answered under its id."""

    __slots__ = ("id", "method", "params")

    def __init__(self, id: int | str, method: str, params: JsonObject) -> None:  # noqa: A002  # JSON-RPC's own word
        self.id: Final = id
        self.method: Final = method
        self.params: Final = params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientRequest) and (
            (self.id, self.method, self.params) == (other.id, other.method, other.params)
        )


class ClientNotification:  # noqa: PLW1641  # it holds dictionaries, so it has no hash
    """A message without an answer."""

    __slots__ = ("method", "params")

    def __init__(self, method: str, params: JsonObject) -> None:
        self.method: Final = method
        self.params: Final = params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientNotification) and (
            (self.method, self.params) == (other.method, other.params)
        )


class ClientResponse:  # noqa: PLW1641  # it holds dictionaries, so it has no hash
    """An answer; `error` is set when the client refused. The id is None only then."""

    __slots__ = ("error", "id", "result")

    def __init__(
        self,
        id: int | str | None,  # noqa: A002  # JSON-RPC's own word
        result: JsonObject | None,
        error: JsonObject | None,
    ) -> None:
        self.id: Final = id
        self.result: Final = result
        self.error: Final = error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientResponse) and (
            (self.id, self.result, self.error) == (other.id, other.result, other.error)
        )


ClientMessage: TypeAlias = ClientRequest | ClientNotification | ClientResponse


class ToolCall:  # noqa: PLW1641  # it holds dictionaries, so it has no hash
    """The parameters of `tools/call`."""

    __slots__ = ("arguments", "meta", "name")

    def __init__(self, name: str, arguments: JsonObject, meta: JsonObject) -> None:
        self.name: Final = name
        self.arguments: Final = arguments
        self.meta: Final = meta

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolCall) and (
            (self.name, self.arguments, self.meta) == (other.name, other.arguments, other.meta)
        )


class Envelope:
    """What a request says about itself. `version` is None when a legacy request states none.

    `says_more` is True when a modern client declares capabilities, or wants logs; most calls do neither.
    """

    __slots__ = ("capabilities", "modern", "says_more", "version")

    def __init__(
        self,
        modern: bool,
        version: str | None = None,
        capabilities: JsonObject = _NOTHING,
        *,
        says_more: bool = False,
    ) -> None:
        self.modern: Final = modern
        self.version: Final = version
        self.capabilities: Final = capabilities
        self.says_more: Final = says_more
