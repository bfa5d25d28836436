"""How many calls each client and each plugin has under way, for each worker, in shared memory.

Guarantees that the count of one worker is written by that worker alone while it lives, so that counting down needs no
lock, and that the counts of one that died can be told from all others and dropped. A name without any call under way
gives its place to another. Counting up happens under the lock of the area. Knows no limits.
"""

from __future__ import annotations

import mmap
from typing import Final

from sekisho.gateway.shared_table import SharedTable

__all__ = ["Row", "SharedCounts"]

_COUNT_BYTES: Final = 4
_NEVER_LAPSES: Final = 1 << 62
_LAPSED: Final = 0


class Row:
    """Where one name is counted: all workers at `counts[first:last]`, we at `mine`; its digest stands at `name`."""

    __slots__ = ("digest", "first", "last", "mine", "name")

    def __init__(self, first: int, last: int, mine: int, name: slice, digest: bytes) -> None:
        self.first: Final = first
        self.last: Final = last
        self.mine: Final = mine
        self.name: Final = name
        self.digest: Final = digest


class SharedCounts:
    """One table of names at a place (a multiple of 8) in a mapping, and a row of counts for each."""

    def __init__(
        self,
        memory: mmap.mmap,
        stamps: memoryview,
        offset: int,
        buckets: int,
        *,
        worker: int,
        workers: int,
        most_workers: int,
    ) -> None:
        self.memory = memory
        self.counts = memoryview(memory).cast("i")
        self._names = SharedTable(memory, stamps, offset, buckets)
        self._first = (offset + SharedTable.size(buckets)) // _COUNT_BYTES
        self._places = SharedTable.places(buckets)
        self._worker = worker
        self._workers = workers
        self._step = most_workers

    @staticmethod
    def size(buckets: int, most_workers: int) -> int:
        """How many bytes it takes."""
        return SharedTable.size(buckets) + SharedTable.places(buckets) * most_workers * _COUNT_BYTES

    def row(self, digest: bytes) -> Row | None:
        """Where a name is counted, from now on if it was not; None when all places near it have calls under way.

        Under the lock. It stays there while it has calls under way; before it is counted up again, compare
        `memory[row.name]` with its digest.
        """
        place = self._names.find(digest)
        if place < 0:
            place = self._names.place(digest, _NEVER_LAPSES, _LAPSED)
        if place < 0:
            for other in self._names.neighbours(digest):
                if self._is_unused(other):
                    self._names.set_until(other, _LAPSED)
            place = self._names.place(digest, _NEVER_LAPSES, _LAPSED)
        if place < 0:
            return None
        first = self._first + place * self._step
        return Row(first, first + self._workers, first + self._worker, self._names.where(place), digest)

    def drop(self, worker: int) -> None:
        """Forget the calls of a worker that has ended."""
        first = self._first + worker
        for at in range(first, first + self._places * self._step, self._step):
            if self.counts[at]:
                self.counts[at] = 0

    def clear(self) -> None:
        """Forget all calls; only while nobody else uses the memory."""
        first = self._first * _COUNT_BYTES
        length = self._places * self._step * _COUNT_BYTES
        self.memory[first : first + length] = bytes(length)

    def close(self) -> None:
        """Let go of the mapping."""
        self.counts.release()

    def _is_unused(self, place: int) -> bool:
        first = self._first + place * self._step
        return not any(self.counts[first : first + self._step])
