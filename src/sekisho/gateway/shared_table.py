"""A table of instants in shared memory: a 128-bit digest to the time (ns) until which it counts.

Guarantees
- Bounded and of fixed size: a digest lives in one bucket of 32 places; a bucket full of living entries takes no
  new one, and nothing that lives is forgotten to make room.
- Right after every single store, so that a writer killed in the middle leaves no wrong entry: a place is free
  when its time has passed; a new entry gets its time first, its digest last.
- `find` needs no lock: a reader beside a writer sees the entry or does not see it yet.

Writers take turns through the lock of the area. Digests are keyed (`shared_memory`), so that nobody who chooses
names chooses buckets. Knows neither clients nor sessions.
"""

from __future__ import annotations

import mmap
from collections.abc import Container
from typing import Final

__all__ = ["DIGEST_BYTES", "SharedTable"]

DIGEST_BYTES: Final = 16
_WAYS: Final = 32
_BUCKET_BYTES: Final = _WAYS * DIGEST_BYTES
_STAMP_BYTES: Final = 8
_NOBODY: Final = bytes(DIGEST_BYTES)


class SharedTable:
    """One table at a place (a multiple of 8) in a mapping; `stamps` is that mapping as 64-bit numbers."""

    def __init__(self, memory: mmap.mmap, stamps: memoryview, offset: int, buckets: int) -> None:
        self._memory = memory
        self._stamps = stamps
        self._offset = offset
        self._buckets = buckets
        self._first_stamp = (offset + buckets * _BUCKET_BYTES) // _STAMP_BYTES

    @staticmethod
    def size(buckets: int) -> int:
        """How many bytes a table takes."""
        return buckets * _WAYS * (DIGEST_BYTES + _STAMP_BYTES)

    @staticmethod
    def places(buckets: int) -> int:
        """How many entries a table holds."""
        return buckets * _WAYS

    def find(self, digest: bytes) -> int:
        """The place of a digest, or -1."""
        bucket = self._bucket(digest)
        start = self._offset + bucket * _BUCKET_BYTES
        at = _aligned(self._memory[start : start + _BUCKET_BYTES], digest)
        return at if at < 0 else bucket * _WAYS + at

    def where(self, place: int) -> slice:
        """Where in the mapping the digest of a place stands."""
        start = self._offset + place * DIGEST_BYTES
        return slice(start, start + DIGEST_BYTES)

    def stamp_of(self, place: int) -> int:
        """Which of `stamps` belongs to a place."""
        return self._first_stamp + place

    def until(self, place: int) -> int:
        """Until when the entry at a place counts, in ns."""
        stamp: int = self._stamps[self._first_stamp + place]
        return stamp

    def set_until(self, place: int, until_ns: int) -> None:
        """Change until when it counts; one store of 64 bits."""
        self._stamps[self._first_stamp + place] = until_ns

    def place(self, digest: bytes, until_ns: int, now_ns: int, promised: Container[int] = ()) -> int:
        """Put a digest that is not here into a free place of its bucket, or -1; a promised stamp is not free."""
        for place in self.neighbours(digest):
            if self.until(place) <= now_ns and self.stamp_of(place) not in promised:
                self.set_until(place, until_ns)
                self._memory[self.where(place)] = digest
                return place
        return -1

    # for entries that no time ends, but who put them there: a free place has no digest, and its stamp says nothing

    def find_or_free(self, digest: bytes) -> tuple[int, int]:
        """The place of a digest, or -1, and then a free one in its bucket, or -1."""
        bucket = self._bucket(digest)
        start = self._offset + bucket * _BUCKET_BYTES
        content = self._memory[start : start + _BUCKET_BYTES]
        at = _aligned(content, digest)
        if at >= 0:
            return bucket * _WAYS + at, -1
        free = _aligned(content, _NOBODY)
        return -1, free if free < 0 else bucket * _WAYS + free

    def put(self, place: int, digest: bytes, stamp: int) -> None:
        """Put a digest into a free place; a writer killed in the middle leaves its stamp."""
        self._stamps[self._first_stamp + place] = stamp
        self._memory[self.where(place)] = digest

    def free(self, place: int) -> None:
        """Take an entry out."""
        self._memory[self.where(place)] = _NOBODY

    def drop(self, stamp: int) -> None:
        """Free every place with this stamp."""
        first = self._first_stamp
        for place, found in enumerate(self._stamps[first : first + self._buckets * _WAYS].tolist()):
            if found == stamp:
                self.free(place)
                self._stamps[first + place] = 0

    def clear(self) -> None:
        """Free all places; only while nobody else uses the memory."""
        length = self.size(self._buckets)
        self._memory[self._offset : self._offset + length] = bytes(length)

    # for both

    def soonest(self, digest: bytes, *, after: int) -> int:
        """The place in this digest's bucket that ends first of those that end after this, or -1."""
        places = [place for place in self.neighbours(digest) if self.until(place) > after]
        return min(places, key=self.until, default=-1)

    def neighbours(self, digest: bytes) -> range:
        """The places of this digest's bucket."""
        first = self._bucket(digest) * _WAYS
        return range(first, first + _WAYS)

    def _bucket(self, digest: bytes) -> int:
        return int.from_bytes(digest[:4], "little") % self._buckets


def _aligned(content: bytes, digest: bytes) -> int:
    """Which of the digests in a bucket it is, or -1."""
    at = content.find(digest)
    while at % DIGEST_BYTES > 0:  # bytes of two neighbours, read together; -1 % 16 is 15
        if at < 0:
            return -1
        at = content.find(digest, at + 1)
    return at // DIGEST_BYTES
