"""One call at the plugin server: it passed every check of its channel and waits for its answer.

Guarantees that at most one answer leaves, however often it is answered, no note, event or question after it, and
nothing after its channel is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.wire.calls import CallFrame
from sekisho.wire.frames import Kind, Payload
from sekisho.wire.messages import AskFrame, EventFrame, FailureFrame, encode_payload

__all__ = ["Inbound"]

_RESULT: Final = Kind.RESULT  # compiled code looks a member of an enum up for each call, and a constant not


class Inbound:
    """A call to carry out; answer it once, with `reply`, `refer` or `fail`.

    It and its channel know each other until it is answered or closed, which happens in every case.
    """

    __slots__ = ("_answer", "call", "frame")

    def __init__(self, call: int, frame: CallFrame, answer: Callable[[int, Kind, Payload], None]) -> None:
        self.call = call
        self.frame = frame
        self._answer: Callable[[int, Kind, Payload], None] | None = answer

    @property
    def is_open(self) -> bool:
        """False once it is answered, cancelled, or its channel is gone; further answers are dropped."""
        return self._answer is not None

    def reply(self, result: Payload) -> None:
        """Answer with the raw JSON of the result; what a view shows is not looked at any more afterwards."""
        self._send(_RESULT, result)

    def fail(self, code: str, message: str) -> None:
        """Answer with an error code of ours."""
        self._send(Kind.FAILURE, encode_payload(FailureFrame(code=code, message=message)))

    def refer(self, error: bytes) -> None:
        """Answer with the plugin's own JSON-RPC error object, raw."""
        self._send(Kind.ERROR, error)

    def event(self, frame: EventFrame) -> None:
        """Pass on a notification that is not about progress."""
        if self._answer is not None:
            self._answer(self.call, Kind.EVENT, encode_payload(frame))

    def ask(self, frame: AskFrame) -> None:
        """Ask the client; what it answers comes to the listener's `on_answer`."""
        if self._answer is not None:
            self._answer(self.call, Kind.ASK, encode_payload(frame))

    def note(self, params: bytes) -> None:
        """Tell the caller how far it is: the raw JSON of progress notifications' params, without a token, a line each."""
        if self._answer is not None:
            self._answer(self.call, Kind.NOTE, params)

    def close(self) -> None:
        """Nobody waits any more."""
        self._answer = None

    def _send(self, kind: Kind, payload: Payload) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(self.call, kind, payload)
