"""The DPoP proofs that were seen, remembered by all workers together: `keys.Replay` in shared memory.

Guarantees
- A proof that one worker admitted is refused by every worker for as long as a proof lives, also after a restart or a
  reload: what is remembered stands in a file of its own, which is made when the first issuer is configured.
- Bounded: where there is no room left the proof is refused, because forgetting one would admit a replay. One key may
  take up no more than its share, counted by each worker, so that one client cannot shut out the others.
- A worker killed in the middle leaves at most an id that nobody was served for: too strict by one, never too lax.

Knows nothing of tokens; what a proof must say is `keys.dpop`'s.
"""

from __future__ import annotations

import mmap
import os
from collections import Counter
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.gateway.shared_table import SharedTable
from sekisho.keys import PROOF_LIFE_S

__all__ = ["SharedReplay"]

BUCKETS: Final = 32_768  # of 32 places: 24 MiB; no bucket overflows below three thousand proofs a second
SHARE: Final = 4  # one key may fill a quarter
FILE: Final = (
    "core.proofs.1"  # the number changes with the layout, so that two versions never meet in one file
)
_LIFE_NS: Final = int(PROOF_LIFE_S * 1e9)


class SharedReplay:
    """The memory of one worker; all workers of a folder remember the same proofs."""

    def __init__(self, memory: SharedMemory, *, buckets: int = BUCKETS) -> None:
        self._memory = memory
        size = SharedTable.size(buckets)
        descriptor = memory.open_beside(FILE)
        try:
            memory.mutex.acquire()
            try:  # whoever comes first makes it; nobody maps it before it has its size
                _make(descriptor, size)
            finally:
                memory.mutex.release()
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._stamps = memoryview(self._map).cast("q")
        self._table = SharedTable(self._map, self._stamps, 0, buckets)
        self._most_of_key = SharedTable.places(buckets) // SHARE // memory.workers
        self._of_key: Counter[str] = Counter()
        self._born = float("-inf")

    def admit(self, jkt: str, jti: str, now: float) -> bool:
        """True the first time at any worker; False for a replay, and when there is no room to remember."""
        if not 0 <= now - self._born < PROOF_LIFE_S:
            self._of_key, self._born = Counter(), now
        if self._of_key[jkt] >= self._most_of_key:
            return False
        # the id is the client's choice and may be long; a length keeps two pairs from meeting
        digest = self._memory.digest(f"{len(jkt)}:{jkt}{jti}".encode())
        now_ns = int(now * 1e9)
        self._memory.mutex.acquire()
        try:
            is_new = self._remember(digest, now_ns)
        finally:
            self._memory.mutex.release()
        self._of_key[jkt] += is_new
        return is_new

    def close(self) -> None:
        """Let go of the mapping."""
        self._stamps.release()
        self._map.close()

    def _remember(self, digest: bytes, now_ns: int) -> bool:
        known = self._table.find(digest)
        if known < 0:
            return self._table.place(digest, now_ns + _LIFE_NS, now_ns) >= 0
        if self._table.until(known) > now_ns:
            return False
        self._table.set_until(known, now_ns + _LIFE_NS)
        return True


def _make(descriptor: int, size: int) -> None:
    """Give the file its size; what it remembers stays."""
    if os.fstat(descriptor).st_size == size:
        return
    try:
        os.ftruncate(descriptor, 0)
        os.posix_fallocate(descriptor, 0, size)  # a full disk fails the start, not a store
    except OSError as error:
        raise Misconfigured(
            "config_invalid",
            f"the workers' memory of proofs cannot be made: {error.strerror}",
            remedy="free 24 MiB on the disk of the home folder",
        ) from error
