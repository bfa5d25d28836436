"""The data of server-sent events out of bytes (WHATWG HTML, section 9.2), as MCP servers stream.

Guarantees that one event never holds more than the limit, and that the pieces in which bytes arrive change
nothing. `feed` gives the data of messages, which is what MCP sends; events of other names are for `feed_named`. The id
and the retry time that stand before resuming a stream are kept as the standard says: the id as of the last event that
was complete, if it can be sent back in a header.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.lines import LineReader

__all__ = ["USUAL_FORMS", "SseEvent", "SseReader"]

MAX_EVENT_BYTES: Final = 16 << 20  # an event that never ends must not exhaust memory

MAX_ID_BYTES: Final = 1024  # it goes back in a header
MAX_RETRY_DIGITS: Final = 9

_SENDABLE: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_DIGITS: Final = re.compile(rb"[0-9]+")
_MESSAGE: Final = b"message"
_BOM: Final = b"\xef\xbb\xbf"
# How servers write an event: what stands before its data and behind it.
USUAL_FORMS: Final = (
    (b"event: message\r\ndata: ", b"\r\n\r\n"),
    (b"event: message\ndata: ", b"\n\n"),
    (b"data: ", b"\r\n\r\n"),
    (b"data: ", b"\n\n"),
)


class SseEvent(msgspec.Struct, frozen=True):
    """One event with data."""

    name: str
    data: bytes


class SseReader:
    """Collects lines into events."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES, *, last_event_id: str = "") -> None:
        self._limit = max_event_bytes
        self._lines = LineReader(max_event_bytes, keep_blank=True)
        self._data: list[bytes] = []
        self._held = 0
        self._ends_in_cr = False
        self._is_first = True
        self._name = b""
        self._next_id = last_event_id
        self.last_event_id = last_event_id
        """Where the stream can be resumed; empty if it cannot."""
        self.retry_ms: int | None = None
        """How long to wait before, if the server said so."""

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished event is kept."""
        return self._held + self._lines.held_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and give the data of the messages they complete, if not empty.

        Raises:
            RemoteProtocolError: `result_too_large`.
        """
        if (
            not self._data
            and not self._name
            and self._next_id == self.last_event_id
            and not self._ends_in_cr
            and not self._lines.held_bytes
            and len(data) <= self._limit
        ):
            events = _usual_events(data)
            if events is not None:
                self._is_first = False
                return events
        return [event.data for event in self.feed_named(data) if event.name == "message"]

    def feed_named(self, data: bytes) -> list[SseEvent]:
        """The same, with the names, and whatever they are."""
        if self._ends_in_cr and data:
            data = data.removeprefix(b"\n")  # CR LF is one line end, even in two pieces
            self._ends_in_cr = False
        self._ends_in_cr = data.endswith(b"\r")
        found = [
            self._take(line) for line in self._lines.feed(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        ]
        return [event for event in found if event is not None]

    def _take(self, line: bytes) -> SseEvent | None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._held += len(value) + 1
                if self._held > self._limit:
                    raise RemoteProtocolError(
                        "result_too_large", f"an event has more than {self._limit} bytes"
                    )
                self._data.append(value)
            case b"event":
                self._name = value
            case b"id" if b"\0" not in value:
                is_sendable = len(value) <= MAX_ID_BYTES and _SENDABLE.fullmatch(value)
                self._next_id = value.decode("ascii") if is_sendable else ""
            case b"retry" if len(value) <= MAX_RETRY_DIGITS and _DIGITS.fullmatch(value):
                self.retry_ms = int(value)
        return None

    def _end_event(self) -> SseEvent | None:
        data, name = b"\n".join(self._data), self._name or _MESSAGE
        self._data, self._held, self._name = [], 0, b""
        self.last_event_id = self._next_id
        return SseEvent(name.decode("utf-8", "replace"), data) if data else None


def _usual_events(data: bytes) -> list[bytes] | None:
    """The data of whole events that all have the same usual form, each in one line; None for anything else."""
    for start, end in USUAL_FORMS:
        if data.startswith(start) and data.endswith(end):
            events = data[len(start) : -len(end)].split(end + start)
            text = b"".join(events)
            return events if all(events) and b"\n" not in text and b"\r" not in text else None
    return None
