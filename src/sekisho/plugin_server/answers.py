"""The words in which a session and whoever uses it speak: answers, waiters, what was dropped.

Guarantees that a plugin's own error is data with bounds, told apart from ours; nothing else. Values only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.protocol import Notification, Request

__all__ = ["Answer", "Counters", "Listener", "Note", "RpcError", "TakeLarge", "Waiter", "read_error"]

MAX_ERROR_BYTES = 64 << 10  # an error says what went wrong; what is larger is no error


class RpcError(msgspec.Struct, frozen=True):
    """A JSON-RPC error of the plugin: data, never our own words. `raw` is the whole object as it came."""

    code: int
    message: str
    raw: bytes


Answer = bytes | RpcError | SekishoError  # a raw result, the plugin's error, or why there is neither
Waiter = Callable[[Answer], None]
# What a waiter has as `take_large` if it takes a large result, from start to end, from where it lies; it keeps nothing of
# the place.
TakeLarge = Callable[[bytes | bytearray, int, int], None]
Note = Callable[[bytes], None]  # of what is said of progress, a line each


class Listener(Protocol):
    """Who hears what a plugin says on its own account. `of` is our request on whose stream it came, if known."""

    def asked(self, request: Request, of: int | None) -> None:
        """A request; it is answered later by `answer_plugin` or `refuse_plugin`."""

    def told(self, notification: Notification, of: int | None) -> None:
        """A notification that is neither about progress nor about changed lists."""

    def answered_late(self, ident: int | str | None) -> None:
        """An answer to what nobody waits for."""


@dataclass(slots=True)
class Counters:
    """What the plugin did that it should not have."""

    garbage: int = 0
    unknown_answers: int = 0
    refused_requests: int = 0
    ignored_notifications: int = 0
    dropped_notes: int = 0


class _Failure(msgspec.Struct):
    code: int
    message: str = ""


def read_error(error: bytes) -> RpcError | SekishoError:
    """The error in an answer, or what is wrong with it."""
    try:
        failure = msgspec.json.decode(error, type=_Failure)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return RemoteProtocolError("plugin_protocol", "the plugin sent a malformed error")
    if len(error) > MAX_ERROR_BYTES:
        return RemoteProtocolError("plugin_protocol", "the plugin sent an error that is too large")
    return RpcError(failure.code, failure.message, error)
