"""Notes and events of calls, and a small queue for them while the core reads slowly, which forgets its oldest first.

A note is one line of JSON; those of one call that leave together share a frame, as lines. An event has a frame of its
own.

Guarantees that what is held stays within a bound, that a note never outlives its call, and that whatever is lost
is counted. Judgement: values in, values out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import Final

__all__ = ["MAX_NOTE_BYTES", "NOTE_SEPARATOR", "NoteQueue"]

MAX_NOTE_BYTES: Final = 64 << 10  # of a frame; a note says how far a call is, and what is larger is no note
NOTE_SEPARATOR: Final = b"\n"
MAX_HELD_BYTES: Final = 1 << 20  # of one channel
COST_BYTES: Final = 128  # what even an empty note takes


class NoteQueue:
    """The held notes of one channel."""

    __slots__ = ("_held_bytes", "_notes", "dropped")

    def __init__(self) -> None:
        self._notes: deque[tuple[int, int, bytes]] = deque()
        self._held_bytes = 0
        self.dropped = 0

    def is_too_large(self, payload: bytes) -> bool:
        """True for what is no note; counted as dropped."""
        if len(payload) <= MAX_NOTE_BYTES:
            return False
        self.dropped += 1
        return True

    def hold(self, kind: int, call: int, payload: bytes) -> None:
        """Keep a note or event for later, at the cost of the oldest ones."""
        if self.is_too_large(payload):
            return
        self._notes.append((kind, call, payload))
        self._held_bytes += COST_BYTES + len(payload)
        while self._held_bytes > MAX_HELD_BYTES:
            self._held_bytes -= COST_BYTES + len(self._notes.popleft()[2])
            self.dropped += 1

    def release(self, calls: Container[int]) -> list[tuple[int, int, bytes]]:
        """Kind, call and payload of what was held, in order; of calls not among these it is dropped: too late."""
        notes, self._notes, self._held_bytes = self._notes, deque(), 0
        kept = [note for note in notes if note[1] in calls]
        self.dropped += len(notes) - len(kept)
        return kept
