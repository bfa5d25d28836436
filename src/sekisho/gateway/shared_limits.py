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
        self._map = memory.memory
        self._stamps = memory.counters
        # key → the number of its stamp, where its digest stands, and its digest
        self._memo: dict[Hashable, tuple[int, slice, bytes]] = {}

    def admit(self, key: Hashable, rule: RateRule, now: float) -> float:
        """Charge one call to a key: 0.0 when it fits, else the seconds until it would."""
        return self.admit_all(((key, rule),), now)

    def admit_all(self, charges: Iterable[tuple[Hashable, RateRule]], now: float) -> float:
        """Charge one call to every key, or to none of them; 0.0 or the longest wait in seconds."""
        now_ns = int(now * 1e9)
        mutex = self._mutex
        status = mutex.try_take()
        if status != 0:
            mutex.wait(status)
        try:
            if isinstance(charges, tuple) and len(charges) == 2 and self._charge_both(charges, now_ns):
                return 0.0
            return self._charge_all(charges, now_ns)
        finally:
            mutex.release()

    def _charge_both(self, charges: tuple[tuple[Hashable, RateRule], ...], now_ns: int) -> bool:
        """Nearly every call: two keys that are known and have calls left; False when anything else is so."""
        memory, stamps, memo = self._map, self._stamps, self._memo
        one, other = memo.get(charges[0][0]), memo.get(charges[1][0])
        if one is None or other is None or memory[one[1]] != one[2] or memory[other[1]] != other[2]:
            return False
        if one[0] == other[0]:
            return False
        rule, also = charges[0][1], charges[1][1]
        first: int = stamps[one[0]]
        second: int = stamps[other[0]]
        first = max(first, now_ns) + rule.interval_ns
        second = max(second, now_ns) + also.interval_ns
        if first - now_ns > rule.window_ns or second - now_ns > also.window_ns:
            return False
        stamps[one[0]] = first
        stamps[other[0]] = second
        return True

    def _charge_all(self, charges: Iterable[tuple[Hashable, RateRule]], now_ns: int) -> float:
        memory, stamps, memo = self._map, self._stamps, self._memo
        charged: dict[int, int] = {}
        longest_ns = 0
        for key, rule in charges:
            known = memo.get(key)
            if known is not None and memory[known[1]] == known[2]:
                stamp = known[0]
            else:
                stamp = self._stamp(key, now_ns, charged)
                if stamp < 0:
                    return NO_ROOM_WAIT_S
            before = charged.get(stamp)
            if before is None:
                before = stamps[stamp]
            arrival = next_arrival(before, rule, now_ns)
            charged[stamp] = arrival
            early_ns = arrival - now_ns - rule.window_ns
            longest_ns = max(longest_ns, early_ns)
        if longest_ns > SLACK_NS:
            return longest_ns / 1e9
        for stamp, arrival in charged.items():
            stamps[stamp] = arrival
        return 0.0

    def _stamp(self, key: Hashable, now_ns: int, promised: Container[int]) -> int:
        """The number of a key's stamp, -1 when there is no room; `promised` ones belong to other keys of this call."""
        if len(self._memo) >= MAX_MEMOS:
            self._memo.clear()
        table = self._table
        digest = self._memory.digest(msgspec.json.encode(key))
        place = table.find(digest)
        if place < 0:
            place = table.place(digest, now_ns, now_ns, promised)
        if place < 0:
            return -1
        stamp = table.stamp_of(place)
        self._memo[key] = (stamp, table.where(place), digest)
        return stamp
