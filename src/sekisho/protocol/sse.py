"""The data of server-sent events out of bytes (WHATWG HTML, section 9.2), as MCP servers stream.

Guarantees that one event never holds more than the limit, and that the pieces in which bytes arrive change
nothing. Gives only the data: event names, ids and retry times mean nothing to a gateway that does not resume
streams.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.lines import LineReader

__all__ = ["SseReader"]

MAX_EVENT_BYTES: Final = 16 << 20  # an event that never ends must not exhaust memory

_BOM: Final = b"\xef\xbb\xbf"
# How servers write an event: what stands before its data and behind it.
_USUAL: Final = (
    (b"event: message\r\ndata: ", b"\r\n\r\n"),
    (b"event: message\ndata: ", b"\n\n"),
    (b"data: ", b"\r\n\r\n"),
    (b"data: ", b"\n\n"),
)


class SseReader:
    """Collects lines into events."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._lines = LineReader(max_event_bytes, keep_blank=True)
        self._data: list[bytes] = []
        self._held = 0
        self._ends_in_cr = False
        self._is_first = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and give the data of the events they complete, if not empty.

        Raises:
            RemoteProtocolError: `result_too_large`.
        """
        if (
            not self._data
            and not self._ends_in_cr
            and not self._lines.held_bytes
            and len(data) <= self._limit
        ):
            events = _usual_events(data)
            if events is not None:
                self._is_first = False
                return events
        if self._ends_in_cr and data:
            data = data.removeprefix(b"\n")  # CR LF is one line end, even in two pieces
            self._ends_in_cr = False
        self._ends_in_cr = data.endswith(b"\r")
        found = [
            self._take(line) for line in self._lines.feed(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        ]
        return [event for event in found if event]

    def _take(self, line: bytes) -> bytes:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            event = b"\n".join(self._data)
            self._data, self._held = [], 0
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._held += len(value) + 1
            if self._held > self._limit:
                raise RemoteProtocolError("result_too_large", f"an event has more than {self._limit} bytes")
            self._data.append(value)
        return b""


def _usual_events(data: bytes) -> list[bytes] | None:
    """The data of whole events that all have the same usual form, each in one line; None for anything else."""
    for start, end in _USUAL:
        if data.startswith(start) and data.endswith(end):
            events = data[len(start) : -len(end)].split(end + start)
            text = b"".join(events)
            return events if all(events) and b"\n" not in text and b"\r" not in text else None
    return None
