"""Batches of JSON-RPC messages, known to MCP 2025-03-26 alone: several messages in one POST, their answers in one array.

Guarantees
- only a session that agreed on 2025-03-26 sends them, and no batch opens a session (basic/lifecycle of that revision);
- a batch that cannot be read whole, or holds too many messages, is refused whole, before any of it is looked at;
- every message in it is judged, charged and recorded as if it had come alone, and fails alone;
- answers stand in the order of their requests; together they are bounded, so are those of all batches that are not yet
  complete (`freight`): what does not fit is refused by itself;
- nothing is asked or told in the midst of its calls: the answer is one document, or one event of the oldest transport,
  when all of it is there;
- whoever is gone withdraws all that is still under way.

Knows no socket and serves no method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.gateway.freight import LARGE_BYTES, Freight
from sekisho.gateway.guest import Withdrawable
from sekisho.gateway.passage import Serves, Stead, serve_request, take_word
from sekisho.gateway.reception import DoorRules, Pass
from sekisho.gateway.sessions import Session
from sekisho.gateway.visit import Visit
from sekisho.protocol import (
    BATCHES,
    ClientMessage,
    ClientNotification,
    ClientRequest,
    ClientResponse,
    HttpRequest,
    error_bytes,
    parse_client_batch,
)

__all__ = ["Batch", "read_batch", "serve_batch", "start_batch"]

MAX_ANSWER_BYTES: Final = 32 << 20  # of one batch: many large results must not be held together
_NOT_HERE: Final = f"batches are of sessions that agreed on {BATCHES}, and initialize is never part of one"


class Batch:
    """One batch under way; answered when each of its messages is."""

    def __init__(self, visit: Visit, size: int, freight: Freight) -> None:
        self._freight = freight
        self._charges: list[int] = []  # bytes of answers, as they were taken from it
        self._visit = visit
        self._open = size
        self._answers: list[bytes | None] = [None] * size
        self._bytes = 0
        self._parts: list[Withdrawable | None] = [None] * size
        self._is_over = False

    def part(self, at: int, call_id: str, ident: int | str | None) -> Visit:
        """A visit of its own for one of the messages."""
        outer = self._visit
        visit = outer.inner(call_id, _Part(self, at, ident), outer.streams, ident)
        visit.target, visit.challenges = outer.target, outer.challenges
        return visit

    def carry(self, at: int, trip: Withdrawable | None) -> None:
        """What one of its messages set in motion."""
        self._parts[at] = trip

    def settle(self, at: int, ident: int | str | None, answer: bytes) -> None:
        """One of its messages has its answer; those that are no requests have none."""
        self._parts[at] = None
        if ident is not None:
            if not self._keep(len(answer)):
                too_large = RemoteProtocolError("result_too_large", "the answers of this batch are too large")
                answer = error_bytes(ident, too_large)
            self._answers[at] = answer
        self._open -= 1
        if not self._open and not self._is_over:
            self._is_over = True
            self._answer()

    def withdraw(self, reason: SekishoError) -> None:
        """Its client is gone: nothing of it goes on."""
        self._is_over = True
        self._let_go()
        parts, self._parts = self._parts, [None] * len(self._parts)
        for part in parts:
            if part is not None:
                part.withdraw(reason)

    def _keep(self, size: int) -> bool:
        """An answer waits for the others; False when it must not."""
        total = self._bytes + size
        if self._is_over or total > MAX_ANSWER_BYTES:
            return False
        if total > LARGE_BYTES:
            more = total - sum(self._charges)
            if not self._freight.take(self._visit.known_client, more):
                return False
            self._charges.append(more)
        self._bytes = total
        return True

    def _let_go(self) -> None:
        charges, self._charges = self._charges, []
        for size in charges:
            self._freight.give(self._visit.known_client, size)

    def _answer(self) -> None:
        self._let_go()
        answers = [answer for answer in self._answers if answer is not None]
        visit = self._visit
        if not answers:
            visit.accept()
            return
        visit.give_together(answers)


class _Part(Stead):
    """What is written to it is one member of the array; there are no pieces before the answer."""

    def __init__(self, batch: Batch, at: int, ident: int | str | None) -> None:
        self._batch = batch
        self._at = at
        self._ident = ident
        self._is_over = False

    def answer(self, data: bytes) -> None:
        """The answer, as our own HTTP response: its body is the message."""
        if not self._is_over:
            self._is_over = True
            self._batch.settle(self._at, self._ident, data.partition(b"\r\n\r\n")[2])


def serve_batch(
    door: Serves, request: HttpRequest, visit: Visit, known: Pass, session_of: Callable[[], Session]
) -> Withdrawable | None:
    """Serve a POST that is no single message; raises what it is refused with as a whole."""
    if "mcp-session-id" not in request.headers:
        raise RemoteProtocolError("batch_refused", _NOT_HERE)
    session = session_of()
    messages = read_batch(request.body, session, known.rules)
    return start_batch(door, messages, visit, session, request)


def read_batch(body: bytes, session: Session, rules: DoorRules) -> list[ClientMessage]:
    """The messages of a batch; raises what it is refused with as a whole."""
    if session.version != BATCHES:
        raise RemoteProtocolError("batch_refused", _NOT_HERE)
    messages = parse_client_batch(body, rules.message_limits, most=rules.max_batch_messages)
    if any(not isinstance(one, ClientResponse) and one.method == "initialize" for one in messages):
        raise RemoteProtocolError("batch_refused", _NOT_HERE)
    return messages


def start_batch(
    door: Serves,
    messages: list[ClientMessage],
    visit: Visit,
    session: Session,
    request: HttpRequest,
    *,
    hear: Callable[[ClientNotification], None] | None = None,
) -> Batch:
    """Serve each message; the visit is answered once all of them are. `hear` is told of notifications, too."""
    batch = Batch(visit, len(messages), door.dispatcher.freight)
    for at, message in enumerate(messages):
        ident = message.id if isinstance(message, ClientRequest) else None
        part = batch.part(at, door.new_id(), ident)
        try:
            if isinstance(message, ClientRequest):
                batch.carry(at, serve_request(door, message, part, session, request))
                continue
            take_word(door, message, part, lambda: session, request)
            if hear is not None and isinstance(message, ClientNotification):
                hear(message)
        except SekishoError as error:
            door.refuse(part, error)
    return batch
