"""Places for large payloads, used again: filling a new one with zeros takes nearly as long as reading into it.

Guarantees that a place is given to nobody while anybody looks at what lies in it, however long and for whatever reason:
an array refuses to change its size as long as there is a view of it, and each one is asked before it is given out. What
is kept is bounded. A place holds what was there before: whoever takes one reads only what it has written.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Places", "new_place", "place_of"]

MAX_KEPT_BYTES: Final = 2 << 20  # of one: beyond, making a new one is a small part of the work
_ASIDE: Final = 64


class Places:
    """A few of them."""

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int) -> None:
        self._kept: list[bytearray] = []
        self._most = most

    @property
    def kept_bytes(self) -> int:
        """What is kept for the next payloads."""
        return sum(map(len, self._kept))

    def take(self, size: int) -> memoryview:
        """All of a place of this size; it is free again when the last view of it is gone."""
        for place in self._kept:
            if len(place) >= size and not _is_seen(place):
                del place[size:]
                return memoryview(place)
        place = new_place(size)
        if size <= MAX_KEPT_BYTES:
            if len(self._kept) >= self._most:
                del self._kept[0]
            self._kept.append(place)
        return memoryview(place)

    def drop(self) -> None:
        """Keep nothing. What is looked at stays until nobody does."""
        self._kept.clear()


def new_place(size: int) -> bytearray:
    """An array that much can be read into quickly."""
    place = bytearray(_ASIDE + size)
    del place[:_ASIDE]  # which moves nothing: an array may begin anywhere in its memory
    return place


def place_of(view: memoryview) -> bytearray:
    """The place that was taken as this view; what only looks like one is copied."""
    place = view.obj
    return place if isinstance(place, bytearray) and len(place) == len(view) else bytearray(view)


def _is_seen(place: bytearray) -> bool:
    try:
        place.append(place.pop())
    except (BufferError, IndexError):  # of an empty one, nobody can tell
        return True
    return False
