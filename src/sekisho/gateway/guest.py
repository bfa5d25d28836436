"""Who a request came from, as far as those who answer it have to know: a connection, or what stands in its place.

A `Guest` takes answers, and pieces of them. It is a connection (`front`), one message of several (`batches`, `old_sse`),
or a `Copy`: a stream that its client can take up again (`resuming`). What is under way for it is `Withdrawable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from sekisho.errors import Refused, SekishoError
from sekisho.keys import Pending, Principal

__all__ = ["CLIENT_GONE", "Copies", "Copy", "Guest", "Withdrawable"]

# Told by the connection, and by it alone; whoever may come back is known by it.
CLIENT_GONE: Final = Refused("cancelled", "the client closed the connection")


class Guest(Protocol):
    """The connection that a request came by."""

    client: str | None
    """Who was last seen on it."""
    certificate: str | None
    """Of the client, as `keys.certificate_shown` tells it."""
    shown: Principal | Pending | None
    """Who sent the head of the request that is still arriving: a proof of possession counts only once."""

    def admit(self, client: str) -> bool:
        """Take note of who speaks; False when this client has too many connections."""

    def begin(self, data: bytes) -> bool:
        """Send a piece of an answer; False when the client does not keep up, and then nothing was sent."""

    def answer(self, data: bytes) -> None:
        """Send the whole answer, or its last piece."""

    def answer_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send the whole of a large answer, which lies in several places."""


class Withdrawable(Protocol):
    """Something under way that ends early when its client is gone."""

    def withdraw(self, reason: SekishoError) -> None:
        """End it."""


class Copy(Guest, Protocol):
    """A stream that its client can take up again, in the place of its connection."""

    owner: Withdrawable
    """What ends when nobody comes back."""

    def open(self, head: bytes, data: bytes) -> bool:
        """Begin."""

    def holds(self, reason: SekishoError) -> bool:
        """True when nothing is withdrawn for this reason, since the client may come back."""


class Copies(Protocol):
    """Begins streams that can be taken up again (`resuming`)."""

    def start(self, guest: Guest, client: str, session: str, owner: Withdrawable, *, is_call: bool) -> Copy:
        """One to this connection."""
