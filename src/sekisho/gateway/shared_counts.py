"""How many calls each client and each plugin has under way, for each worker, in shared memory.

Guarantees that the count of one worker is written by that worker alone while it lives, so that counting down needs no
lock, and that the counts of one that died can be told from all others and dropped. A name without any call under way
gives its place to another. Counting up happens under the lock of the area. Knows no limits.
"""

from __future__ import annotations

import mmap
from typing import Final

from sekisho.gateway.shared_table import SharedTable

__all__ = ["SharedCounts"]

_COUNT_BYTES: Final = 4
_NEVER_LAPSES: Final = 1 << 62
_LAPSED: Final = 0


class SharedCounts:
    """One table of names at a place (a multiple of 8) in a mapping, and a row of counts for each."""

    def __init__(
        self, memory: mmap.mmap, stamps: memoryview, offset: int, buckets: int, workers: int
    ) -> None:
        self._names = SharedTable(memory, stamps, offset, buckets)
        self._counts = memoryview(memory).cast("i")
        self._first = (offset + SharedTable.size(buckets)) // _COUNT_BYTES
        self._places = SharedTable.places(buckets)
        self._workers = workers

    @staticmethod
    def size(buckets: int, workers: int) -> int:
        """How many bytes it takes."""
        return SharedTable.size(buckets) + SharedTable.places(buckets) * workers * _COUNT_BYTES

    def holds(self, place: int, digest: bytes) -> bool:
        """True while this name stands at this place."""
        return self._names.holds(place, digest)

    def place(self, digest: bytes) -> int:
        """Where a name is counted, from now on if it was not; -1 when all places near it have calls under way."""
        found = self._names.find(digest)
        if found < 0:
            found = self._names.place(digest, _NEVER_LAPSES, _LAPSED)
        if found < 0:
            for place in self._names.neighbours(digest):
                if self.total(place) == 0:
                    self._names.set_until(place, _LAPSED)
            found = self._names.place(digest, _NEVER_LAPSES, _LAPSED)
        return found

    def total(self, place: int) -> int:
        """How many calls of this name all workers have under way."""
        first = self._first + place * self._workers
        return sum(self._counts[first : first + self._workers])

    def add(self, place: int, worker: int, change: int) -> None:
        """Count this worker's calls up (under the lock) or down."""
        self._counts[self._first + place * self._workers + worker] += change

    def drop(self, worker: int) -> None:
        """Forget the calls of a worker that has ended."""
        first = self._first + worker
        for at in range(first, first + self._places * self._workers, self._workers):
            if self._counts[at]:
                self._counts[at] = 0

    def close(self) -> None:
        """Let go of the mapping."""
        self._counts.release()
