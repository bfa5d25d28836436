"""What a call says before its answer, on its way to a core that may read slowly.

Guarantees that notes and events never hold an answer up: while the core reads slowly they wait in a small queue of their
own, from which the oldest are dropped and counted (`notes`). Decides nothing else.
"""

from __future__ import annotations

from collections.abc import Container

from sekisho.wire.frames import Kind
from sekisho.wire.notes import MAX_NOTE_BYTES, NOTE_SEPARATOR, NoteQueue
from sekisho.wire.pipe import SealedPipe

__all__ = ["Remarks"]


class Remarks:
    """Those of one channel."""

    __slots__ = ("_is_congested", "_notes")

    def __init__(self) -> None:
        self._notes = NoteQueue()
        self._is_congested = False

    @property
    def dropped(self) -> int:
        """Notes that did not leave because the core reads slowly, or because they are too large."""
        return self._notes.dropped

    def note(self, pipe: SealedPipe, call: int, payload: bytes) -> None:
        """How far a call is: one line, or several."""
        if not self._is_congested and len(payload) <= MAX_NOTE_BYTES:
            pipe.send(Kind.NOTE, call, payload)
            return
        for one in payload.split(NOTE_SEPARATOR):
            if self._is_congested:
                self._notes.hold(Kind.NOTE, call, one)
            elif not self._notes.is_too_large(one):
                pipe.send(Kind.NOTE, call, one)

    def event(self, pipe: SealedPipe, call: int, payload: bytes) -> None:
        """Any other notification."""
        if self._is_congested:
            self._notes.hold(Kind.EVENT, call, payload)
        elif not self._notes.is_too_large(payload):
            pipe.send(Kind.EVENT, call, payload)

    def hold_back(self) -> None:
        """The core reads slowly."""
        self._is_congested = True

    def go_on(self) -> None:
        """It reads again."""
        self._is_congested = False

    def release(self, pipe: SealedPipe, calls: Container[int]) -> None:
        """Send what was held, of these calls; of others it is dropped."""
        for kind, call, payload in self._notes.release(calls):
            if kind == Kind.EVENT:
                self.event(pipe, call, payload)
            else:
                self.note(pipe, call, payload)
