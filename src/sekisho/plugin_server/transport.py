"""The seam between a session with a plugin and whatever carries its messages: pipes, Streamable HTTP, HTTP with SSE.

The transport is made after the session and given to it with `PluginSession.attach(transport)`; from then on each knows
the other by these two protocols only. A transport knows no MCP beyond what its own framing needs (ids, the version,
header values); a session knows no sockets. Whatever a plugin sends is handed on unread.

What a transport promises
- a message given to `send` leaves whole, once, in order with the others of the same stream; `send` never raises or waits;
- every request sent either gets an answer through `receive_all`, or `fail_one` tells that none will come; pipes, which
  cannot know, tell it for all requests at once when they end;
- after `withdraw` nothing of that request's stream is handed on any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sekisho.errors import SekishoError

__all__ = ["Hearer", "Transport"]


class Transport(Protocol):
    """What a session needs of whatever carries its messages."""

    @property
    def has_streams(self) -> bool:
        """True if every request of ours has an answer stream of its own (HTTP): `of` is known, closing it cancels."""

    def send(self, message: bytes, ident: int = 0, words: bytes = b"") -> None:
        """Send one message; a modern request says its version and method itself, in `params._meta` and `method`.

        Of the call of a tool its id is told, and the `words` that it has in common with all calls of that tool. Both
        stand in the message, where whoever needs them need not look for them then.
        """

    def has_room(self) -> bool:
        """False while so much is queued that no further call may be sent."""

    def withdraw(self, ident: int) -> None:
        """Nobody waits for this request any more: close the stream it has, if it has one of its own.

        A legacy plugin has been sent `notifications/cancelled` before; to a modern one with streams the closed stream
        says it, and nothing else is sent.
        """

    def use_version(self, version: str) -> None:
        """The version agreed on, for every later message; called once, after `initialize` or discovery."""

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        """The tools as just listed, verbatim; for header values that a modern server wants mirrored."""


class Hearer(Protocol):
    """What a transport needs of the session."""

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        """Take messages that arrived together; `of` is our request on whose stream they came, None without one."""

    def receive(self, line: bytes, of: int | None = None) -> None:
        """Take one message."""

    def receive_large(self, place: memoryview, size: int) -> bool:
        """Take a large message from where it lies; False, and nothing happened, where it is wanted as any other.

        `place` is all of one of our `Places`, and good as long as somebody looks at it; the message has this size, from
        its beginning.
        """

    def is_waiting(self, ident: int | str) -> bool:
        """True while somebody waits for the answer to this request."""

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        """This request gets no answer; ignored if it had one."""

    def fail_all(self, error: SekishoError) -> None:
        """None of the open requests gets an answer."""
