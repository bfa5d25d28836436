"""The requests that a relay has under way: the client's, within bounds, and its own. Judgement only."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from sekisho.protocol import META_PROTOCOL_VERSION, request_bytes

__all__ = ["Answer", "Asked", "InFlight", "OwnRequests", "Sender", "error_code", "read_params"]

MAX_IN_FLIGHT: Final = 512  # requests of one client; the gateway has bounds of its own
MAX_HELD_BYTES: Final = 64 << 20  # of requests in flight, and of lines that wait for a session
_LISTEN: Final = "subscriptions/listen"


class Sender(Protocol):
    """What carries messages to the gateway."""

    def send(self, message: bytes) -> None:
        """Send one message; its answer comes to the relay."""

    def has_room(self) -> bool:
        """False while too many are under way."""

    def withdraw(self, ident: int | str) -> None:
        """Close the stream of this request."""


class Answer(msgspec.Struct, gc=False):
    """As much of a message of the gateway as a relay reads."""

    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Asked(msgspec.Struct):
    """A request of the client."""

    method: str
    line: bytes
    params: msgspec.Raw
    carrier: Sender
    is_modern: bool
    is_retried: bool = False
    is_carried: bool = True
    """False while it waits for something that it needs first."""


class _Meta(msgspec.Struct):
    version: str | None = msgspec.field(default=None, name=META_PROTOCOL_VERSION)


class _Params(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta, name="_meta")
    uri: str = ""


class _ErrorObject(msgspec.Struct):
    code: int = 0


class InFlight:
    """The client's requests, by id, and how much memory all that is held takes up."""

    def __init__(self) -> None:
        self._asked: dict[int | str, Asked] = {}
        self._held_bytes = 0
        self._listening = 0

    def __contains__(self, ident: int | str) -> bool:
        return ident in self._asked

    def get(self, ident: int | str) -> Asked | None:
        """The one of this id."""
        return self._asked.get(ident)

    @property
    def idents(self) -> tuple[int | str, ...]:
        """All of them."""
        return tuple(self._asked)

    @property
    def is_idle(self) -> bool:
        """True when no answer is due; a stream of news has none."""
        return len(self._asked) == self._listening

    def has_room(self, size: int, waiting: int = 0) -> bool:
        """May so many bytes more be held, while so many messages wait?"""
        return len(self._asked) + waiting < MAX_IN_FLIGHT and self._held_bytes + size <= MAX_HELD_BYTES

    def hold(self, size: int) -> None:
        """So many bytes more are held; less, if negative."""
        self._held_bytes += size

    def add(self, ident: int | str, asked: Asked) -> None:
        """One is under way."""
        self._asked[ident] = asked
        self._listening += asked.method == _LISTEN
        self.hold(len(asked.line))

    def settle(self, ident: int | str) -> Asked | None:
        """One is over; None if it is not under way."""
        asked = self._asked.pop(ident, None)
        if asked is not None:
            self._listening -= asked.method == _LISTEN
            self.hold(-len(asked.line))
        return asked

    def clear(self) -> None:
        """Nobody waits for any of them."""
        for ident in self.idents:
            self.settle(ident)


class OwnRequests:
    """Requests that the relay makes itself."""

    def __init__(self) -> None:
        self._mark = secrets.token_urlsafe(9)  # so that no id of ours is one of the client's
        self._count = 0
        self._open: dict[int | str, Callable[[Answer | None], None]] = {}

    def __contains__(self, ident: int | str | None) -> bool:
        return ident in self._open

    @property
    def idents(self) -> tuple[int | str, ...]:
        """All of them."""
        return tuple(self._open)

    def send(
        self, carrier: Sender, method: str, params: bytes, then: Callable[[Answer | None], None] | None = None
    ) -> None:
        """Ask; `then` hears the answer, or None if there is none."""
        self._count += 1
        ident = f"sekisho-connect:{self._mark}:{self._count}"
        self._open[ident] = then or _ignore
        carrier.send(request_bytes(ident, method, params))

    def settle(self, ident: int | str | None, answer: Answer | None) -> bool:
        """True if it was one of ours, which has been heard now."""
        then = None if ident is None else self._open.pop(ident, None)
        if then is not None:
            then(answer)
        return then is not None

    def clear(self) -> None:
        """Nobody waits for any of them."""
        self._open.clear()


def read_params(params: msgspec.Raw) -> tuple[bool, str]:
    """Whether a message is of the newer era, and the URI it names."""
    try:
        read = msgspec.json.decode(params or b"{}", type=_Params)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False, ""  # the gateway says what is wrong with it
    return read.meta.version is not None, read.uri


def error_code(error: msgspec.Raw) -> int:
    """The number of a JSON-RPC error; 0 if it has none."""
    try:
        return msgspec.json.decode(error, type=_ErrorObject).code
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return 0


def _ignore(answer: Answer | None) -> None:
    """Nobody waits for it."""
