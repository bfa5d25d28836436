"""Who hears of the progress of which request, and how much of it.

Guarantees that a plugin's note reaches exactly the call whose token it names, without that token, which is ours and not
the client's; that none reaches a call that has ended; and that a plugin which counts every byte does not drown its
caller: what is beyond the bound is dropped and counted.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.errors import SekishoError
from sekisho.plugin_server.answers import Counters, Note
from sekisho.protocol import decode_distinct

__all__ = ["MAX_NOTES", "Progress"]

MAX_NOTES: Final = 1_000  # per call
_encode: Final = msgspec.json.Encoder().encode


class Progress:
    """Those of one session; a token is the id of its request."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._notes: dict[int, tuple[Note, int]] = {}  # who hears, and how many still

    def expect(self, ident: int, note: Note) -> None:
        """This request wants to hear of its progress."""
        self._notes[ident] = (note, MAX_NOTES)

    def hand_over(self, ident: int, note: Note) -> None:
        """Somebody else hears of it from now on, if anybody did."""
        if ident in self._notes:
            self._notes[ident] = (note, self._notes[ident][1])

    def drop(self, ident: int) -> None:
        """The request has ended."""
        if self._notes:
            self._notes.pop(ident, None)

    def clear(self) -> None:
        """All have."""
        self._notes.clear()

    def read(self, params: bytes) -> None:
        """A notification in a form that is not the usual one."""
        try:
            members, _ = decode_distinct(params)
        except SekishoError:
            members = None
        token = members.pop("progressToken", None) if isinstance(members, dict) else None
        # a bool is an int to Python, and True would be call 1
        self.pass_on(token if type(token) is int else -1, _encode(members), 1)

    def pass_on(self, token: int, notes: bytes, count: int) -> None:
        """So many lines, to whoever wants to hear of this token, as long as it does not hear too much."""
        known = self._notes.get(token)
        if known is None:
            self._counters.dropped_notes += count
            return
        note, left = known
        if count > left:
            self._counters.dropped_notes += count - left
            notes = b"\n".join(notes.split(b"\n")[:left])
        if left:
            self._notes[token] = (note, max(left - count, 0))
            note(notes)
