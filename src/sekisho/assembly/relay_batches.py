"""Batches of a client on standard input: which requests belong together, and their answers until all are there.

Guarantees that the answers of a batch leave as one array, in the order of its requests, once each has its answer or was
withdrawn; and that they hold a bounded amount of memory meanwhile. Judgement only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import (
    BATCHES,
    JsonLimits,
    Message,
    Request,
    Response,
    error_bytes,
    parse_message,
    split_batch,
)

__all__ = ["MAX_MESSAGES", "Batches", "read_batch"]

MAX_MESSAGES: Final = 256  # of one batch; the gateway judges, charges and bounds each of them by itself
MAX_ANSWER_BYTES: Final = 32 << 20  # of all batches: large results must not be held together without end


class _Batch:
    """One batch; an answer of None is one that nobody waits for any more."""

    def __init__(self, idents: Sequence[int | str]) -> None:
        self.places = {ident: at for at, ident in enumerate(idents)}
        self.answers: list[bytes | None] = [None] * len(idents)
        self.open = len(idents)


class Batches:
    """All batches of one client that are under way."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._of: dict[int | str, _Batch] = {}
        self._held_bytes = 0

    def begin(self, idents: Sequence[int | str]) -> None:
        """These requests came together; without any there is nothing to answer."""
        batch = _Batch(idents)
        for ident in idents:
            self._of[ident] = batch

    def settle(self, ident: int | str, answer: bytes | None) -> bool:
        """True if the request came in a batch: its answer is kept until the others are there."""
        batch = self._of.pop(ident, None)
        if batch is None:
            return False
        if answer is not None and self._held_bytes + len(answer) > MAX_ANSWER_BYTES:
            too_large = RemoteProtocolError("result_too_large", "the answers of this batch are too large")
            answer = error_bytes(ident, too_large)
        self._held_bytes += len(answer or b"")
        batch.answers[batch.places[ident]] = answer
        batch.open -= 1
        if not batch.open:
            answers = [one for one in batch.answers if one is not None]
            self._held_bytes -= sum(map(len, answers))
            if answers:
                self._write(b"[" + b",".join(answers) + b"]")
        return True

    def clear(self) -> None:
        """Nobody waits for any of them."""
        self._of.clear()
        self._held_bytes = 0


def read_batch(
    line: bytes, limits: JsonLimits, version: str | None, is_modern: Callable[[Message], bool]
) -> list[tuple[Message, bytes]]:
    """The messages of a batch, each with its text: all of them, or none.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_*`, `batch_refused` or `message_invalid`.
    """
    if version != BATCHES:
        raise RemoteProtocolError("batch_refused", f"batches are of sessions that agreed on {BATCHES}")
    found: list[tuple[Message, bytes]] = []
    for text in split_batch(line, limits, most=MAX_MESSAGES):
        message = parse_message(text, limits)
        if not isinstance(message, Response) and (message.method == "initialize" or is_modern(message)):
            raise RemoteProtocolError("batch_refused", "a batch is of one session, and opens none")
        found.append((message, text))
    idents = [message.id for message, _ in found if isinstance(message, Request)]
    if len(set(idents)) < len(idents):
        raise RemoteProtocolError("message_invalid", "an id stands twice in this batch")
    return found
