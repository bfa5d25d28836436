"""How often a key may act, counted by all workers together: the rule of `policy.RateLimiter` in shared memory.

Guarantees what one limiter in one process does: any number of workers admit together exactly the calls that it
would, in the order in which they took the lock; several keys are charged together or not at all. A worker killed
in the middle of a charge leaves at most a call charged that was never made: too strict by one, never too lax.
A key for which there is no room waits.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable
from typing import Final

import msgspec

from sekisho.gateway.shared_memory import SharedMemory
from sekisho.policy.limits import SLACK_NS, RateRule, next_arrival

__all__ = ["SharedLimiter"]

NO_ROOM_WAIT_S: Final = 1.0
MAX_MEMOS: Final = 100_000


class SharedLimiter:
    """The limiter of one worker; all workers charge the same keys."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._mutex = memory.mutex
        self._table = memory.rates
        self._memo: dict[Hashable, tuple[int, bytes]] = {}

    def admit(self, key: Hashable, rule: RateRule, now: float) -> float:
        """Charge one call to a key: 0.0 when it fits, else the seconds until it would."""
        return self.admit_all(((key, rule),), now)

    def admit_all(self, charges: Iterable[tuple[Hashable, RateRule]], now: float) -> float:
        """Charge one call to every key, or to none of them; 0.0 or the longest wait in seconds."""
        now_ns = int(now * 1e9)
        self._mutex.acquire()
        try:
            return self._charge_all(charges, now_ns)
        finally:
            self._mutex.release()

    def _charge_all(self, charges: Iterable[tuple[Hashable, RateRule]], now_ns: int) -> float:
        table, memo = self._table, self._memo
        charged: dict[int, int] = {}
        longest_ns = 0
        for key, rule in charges:
            known = memo.get(key)
            place = (
                known[0] if known is not None and table.holds(*known) else self._place(key, now_ns, charged)
            )
            if place < 0:
                return NO_ROOM_WAIT_S
            before = charged.get(place)
            if before is None:
                before = table.until(place)
            arrival = next_arrival(before, rule, now_ns)
            charged[place] = arrival
            early_ns = arrival - now_ns - rule.window_ns
            longest_ns = max(longest_ns, early_ns)
        if longest_ns > SLACK_NS:
            return longest_ns / 1e9
        for place, arrival in charged.items():
            table.set_until(place, arrival)
        return 0.0

    def _place(self, key: Hashable, now_ns: int, promised: Container[int]) -> int:
        if len(self._memo) >= MAX_MEMOS:
            self._memo.clear()
        digest = self._memory.digest(msgspec.json.encode(key))
        place = self._table.find(digest)
        if place < 0:
            place = self._table.place(digest, now_ns, now_ns, promised)
        if place >= 0:
            self._memo[key] = (place, digest)
        return place
