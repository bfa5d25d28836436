"""How often a key may act: GCRA, the leaky bucket that needs one number per key.

- `burst` calls fit at once, then one every 60 / `per_minute` seconds; a refused call costs nothing.
- Several keys can be charged together: all or none, so that a refusal by one limit never eats into another.
- The number of keys is bounded. A live key is never forgotten to make room (that would reset its limit); when
  every key is live, a new key waits.

The instant is an argument; a clock that jumps back costs a key at most one full burst. Knows neither clients
nor plugins: a key is whatever the caller counts by.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["RateLimiter", "RateRule"]

MAX_KEYS: Final = 100_000  # an attacker who invents keys must not grow our memory
SWEEP_INTERVAL_NS: Final = 1_000_000_000  # nor make us search all keys on every call
_MINUTE_NS: Final = 60_000_000_000
_SLACK_NS: Final = 1_000  # a float instant of this century is good to about 0.3 µs
_MAX_PER_MINUTE: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """`per_minute` calls a minute in the long run; `burst` at once (as many as a minute holds when not
    given)."""

    per_minute: int
    burst: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("per_minute", self.per_minute), ("burst", self.capacity)):
            if not 1 <= value <= _MAX_PER_MINUTE:
                raise Misconfigured(
                    "config_invalid",
                    f"a rate with {name} = {value} admits nothing useful",
                    remedy="use 1 or more",
                )

    @property
    def capacity(self) -> int:
        """How many calls fit at once."""
        return self.per_minute if self.burst is None else self.burst

    @property
    def interval_ns(self) -> int:
        """The time one call uses up."""
        return _MINUTE_NS // self.per_minute


class RateLimiter:
    """The arrival times of all keys. Integers in nanoseconds, so that a thousand additions lose nothing."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._full_at: dict[Hashable, int] = {}
        self._next_sweep_ns = 0

    def __len__(self) -> int:
        return len(self._full_at)

    def admit(self, key: Hashable, rule: RateRule, now: float) -> float:
        """Charge one call to a key: 0.0 when it fits, else the seconds until it would."""
        return self.admit_all(((key, rule),), now)

    def admit_all(self, charges: Iterable[tuple[Hashable, RateRule]], now: float) -> float:
        """Charge one call to every key, or to none of them; 0.0 or the longest wait in seconds."""
        now_ns = round(now * 1e9)
        charged: dict[Hashable, int] = {}
        wait_ns = 0
        for key, rule in charges:
            before = charged.get(key, self._full_at.get(key, now_ns))
            after, wait = _charge(before, rule, now_ns)
            charged[key] = after
            wait_ns = max(wait_ns, wait)
        if wait_ns > _SLACK_NS:
            return wait_ns / 1e9
        if not self._has_room(charged, now_ns):
            return SWEEP_INTERVAL_NS / 1e9
        self._full_at.update(charged)
        return 0.0

    def _has_room(self, charged: dict[Hashable, int], now_ns: int) -> bool:
        if len(self._full_at) + len(charged) <= self._max_keys:
            return True
        if now_ns >= self._next_sweep_ns or now_ns < self._next_sweep_ns - SWEEP_INTERVAL_NS:
            self._next_sweep_ns = now_ns + SWEEP_INTERVAL_NS
            self._full_at = {key: at for key, at in self._full_at.items() if at > now_ns}
        new = sum(key not in self._full_at for key in charged)
        return len(self._full_at) + new <= self._max_keys


def _charge(before: int, rule: RateRule, now_ns: int) -> tuple[int, int]:
    """The new arrival time of a key, and how long the call is too early."""
    interval, capacity = rule.interval_ns, rule.capacity
    # In a clock that only moves forward, no arrival time lies further ahead than a full burst.
    arrival = min(max(before, now_ns), now_ns + interval * capacity) + interval
    return arrival, max(0, arrival - interval * capacity - now_ns)
