"""One message of a session that shares its connection with others: what of it is the same for every such front.

A member of a batch and a post of the oldest transport have no connection of their own to be answered on. Guarantees that
each of them is served as if it had come alone, and in a session of the older era only. Knows no way of answering
(`batches` and `old_sse` do) and serves no method (`dispatch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.gateway.dispatch import Dispatcher
from sekisho.gateway.guest import Guest, Withdrawable
from sekisho.gateway.sessions import Session
from sekisho.gateway.visit import Visit
from sekisho.keys import Pending, Principal
from sekisho.protocol import (
    ClientNotification,
    ClientRequest,
    ClientResponse,
    Envelope,
    HttpRequest,
    envelope,
)

__all__ = ["Serves", "Stead", "serve_request", "take_word"]


class Serves(Protocol):
    """What the door does for every front."""

    dispatcher: Dispatcher

    def new_id(self) -> str:
        """The id of one more call."""

    def hear_answer(self, message: ClientResponse, visit: Visit, session_of: Callable[[], Session]) -> None:
        """What a client says to a question."""

    def notice(self, message: ClientNotification, visit: Visit, session: Session | None) -> None:
        """A notification of a client."""

    def refuse(self, visit: Visit, error: SekishoError) -> None:
        """Record a refusal, then give it."""


class Stead:
    """Stands in the place of the connection, which was admitted already; who inherits says where the answer goes."""

    client: str | None = None
    certificate: str | None = None
    shown: Principal | Pending | None = None

    def admit(self, client: str) -> bool:
        """This is no connection."""
        del client
        return True

    def begin(self, data: bytes) -> bool:
        """A piece before the answer; there are none unless somebody carries them."""
        del data
        return False

    def answer_in_parts(self: Guest, parts: Sequence[bytes | memoryview]) -> None:
        """A large one, which lies in several places."""
        self.answer(b"".join(parts))


def serve_request(
    door: Serves, message: ClientRequest, visit: Visit, session: Session | None, request: HttpRequest
) -> Withdrawable | None:
    """Begin to answer a request; only `initialize` has no session."""
    return door.dispatcher.serve(message, visit, session, _legacy(request, message), request)


def take_word(
    door: Serves,
    message: ClientNotification | ClientResponse,
    visit: Visit,
    session_of: Callable[[], Session],
    request: HttpRequest,
) -> None:
    """What has no answer of its own: it is accepted or refused."""
    if isinstance(message, ClientResponse):
        door.hear_answer(message, visit, session_of)
        return
    _legacy(request, message)
    door.notice(message, visit, session_of())
    visit.accept()


def _legacy(request: HttpRequest, message: ClientRequest | ClientNotification) -> Envelope:
    shape = envelope(request.headers, message)
    if shape.modern:
        raise RemoteProtocolError(
            "message_invalid", "a message of the newer era stands alone in a POST to mcp"
        )
    return shape
