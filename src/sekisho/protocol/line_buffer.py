"""Lines out of a byte stream that is read into buffers of ours, where a large line stays.

Guarantees the very lines that `LineReader` gives for the same bytes in the same pieces, and its refusals. A large line is
read to where it lies until whoever takes it has let go of it (`places`): only its beginning is copied, which came before
anybody could know that it is large. Buffers are used again; nothing is read of one but what was put there last.
"""

from __future__ import annotations

from typing import Final

from sekisho.protocol.lines import MAX_LINE_BYTES, LineReader, too_long
from sekisho.protocol.places import Places, new_place, place_of

__all__ = ["LineBuffer"]

READ_BYTES: Final = 64 << 10  # small messages, and the beginning of a large one
MAX_PLACES: Final = 2  # a large line is passed on before the next but one begins
_BLANK: Final = b" \t\r\v\f"


class LineBuffer:
    """Gives whole lines, without their line feed; blank lines are dropped."""

    __slots__ = ("_buffer", "_have", "_large", "_limit", "_lines", "_most", "_place", "_places", "_size")

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES, *, read_bytes: int = READ_BYTES) -> None:
        self._limit = max_line_bytes
        self._lines = LineReader(max_line_bytes)
        self._buffer = memoryview(new_place(read_bytes))
        self._large = read_bytes - read_bytes // 4  # of an unfinished line; worth a place of its own
        self._size = 32 * read_bytes  # of a place: nearly every line fits
        self._most = 4 * read_bytes  # at once into a place; what is of the next line is copied
        self._places = Places(MAX_PLACES)
        self._place: memoryview | None = None  # of the large line that comes, and how much of it is here
        self._have = 0

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished line is kept."""
        return self._have + self._lines.held_bytes

    @property
    def kept_bytes(self) -> int:
        """What is kept for the next large lines."""
        return self._places.kept_bytes

    def get_buffer(self) -> memoryview:
        """Where the next bytes belong; then call `filled`."""
        place = self._place
        return self._buffer if place is None else place[self._have : self._have + self._most]

    def filled(self, count: int) -> tuple[tuple[memoryview, int] | None, list[bytes]]:
        """A large line that is complete now, with its place and size, and the lines behind it.

        Raises:
            RemoteProtocolError: `result_too_large` as soon as a line exceeds the limit; the stream is lost.
        """
        place = self._place
        if place is None:
            return None, self._take(bytes(self._buffer[:count]))
        begun = self._have
        have = self._have = begun + count
        end = place_of(place).find(b"\n", begun, have)
        if (have if end < 0 else end) > self._limit:
            self._leave()
            raise too_long(self._limit)
        if end < 0:
            if have == len(place):
                self._begin(place)
            return None, []
        self._leave()
        behind = self._take(bytes(place[end + 1 : have]))
        is_blank = place[0] in _BLANK and place_of(place)[:end].isspace()
        return None if is_blank else (place, end), behind

    def trim(self) -> None:
        """Keep nothing for the next large lines. What is looked at stays until nobody does."""
        self._places.drop()

    def _take(self, data: bytes) -> list[bytes]:
        lines = self._lines.feed(data)
        if self._lines.held_bytes >= self._large:
            self._begin(memoryview(self._lines.take_held()))
        return lines

    def _begin(self, held: memoryview) -> None:
        """Go on with a line in a place of its own, twice as large as what is here of it, so that moving stays linear."""
        have = len(held)
        place = self._places.take(min(max(self._size, 2 * have), self._limit + 1))
        place[:have] = held
        self._place, self._have = place, have

    def _leave(self) -> None:
        self._place, self._have = None, 0
