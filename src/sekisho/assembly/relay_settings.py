"""What a client of the older era set in its session, to be set again when the gateway has forgotten the session.

That is its log level and its subscriptions, bounded in number and bytes. Judgement only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sekisho.assembly.relay_requests import Asked, read_params

__all__ = ["SessionSettings"]

MAX_SETTINGS: Final = 256
MAX_PARAMS_BYTES: Final = 8 << 10  # a longer one names nothing that exists
_LEVEL: Final = "logging/setLevel"
_SUBSCRIBE: Final = "resources/subscribe"


class SessionSettings:
    """The settings that hold now."""

    def __init__(self) -> None:
        self._params: dict[tuple[str, str], bytes] = {}

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Each method with its parameters, in the order in which they were first set."""
        return iter([(method, params) for (method, _), params in self._params.items()])

    def succeeded(self, asked: Asked) -> None:
        """The gateway did what was asked."""
        match asked.method:
            case "logging/setLevel":
                self._keep((_LEVEL, ""), asked)
            case "resources/subscribe":
                self._keep((_SUBSCRIBE, read_params(asked.params)[1]), asked)
            case "resources/unsubscribe":
                self._params.pop((_SUBSCRIBE, read_params(asked.params)[1]), None)

    def clear(self) -> None:
        """A new session begins with none."""
        self._params.clear()

    def _keep(self, key: tuple[str, str], asked: Asked) -> None:
        params = bytes(asked.params)
        if len(params) <= MAX_PARAMS_BYTES and (key in self._params or len(self._params) < MAX_SETTINGS):
            self._params[key] = params
