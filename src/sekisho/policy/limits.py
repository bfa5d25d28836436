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
from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["SLACK_NS", "RateLimiter", "RateRule", "next_arrival"]

MAX_KEYS: Final = 100_000  # an attacker who invents keys must not grow our memory
SWEEP_INTERVAL_NS: Final = 1_000_000_000  # nor make us search all keys on every call
_MINUTE_NS: Final = 60_000_000_000
SLACK_NS: Final = 1_000  # a float instant of this century is good to about 0.3 µs
_MAX_PER_MINUTE: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """`per_minute` calls a minute in the long run; `burst` at once (as many as a minute holds when not
    given).

    `interval_ns` is the time one call uses up, `window_ns` the time that a full burst does.
    """

    per_minute: int
    burst: int | None = None
    interval_ns: int = field(init=False, repr=False, compare=False)
    window_ns: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("per_minute", self.per_minute), ("burst", self.capacity)):
            if not 1 <= value <= _MAX_PER_MINUTE:
                raise Misconfigured(
                    "config_invalid",
                    f"a rate with {name} = {value} admits nothing useful",
                    remedy="use 1 or more",
                )
        object.__setattr__(self, "interval_ns", _MINUTE_NS // self.per_minute)
        object.__setattr__(self, "window_ns", self.interval_ns * self.capacity)

    @property
    def capacity(self) -> int:
        """How many calls fit at once."""
        return self.per_minute if self.burst is None else self.burst


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
        now_ns = int(now * 1e9)
        full_at = self._full_at
        if isinstance(charges, tuple) and len(charges) == 2:
            # two different keys that are known and have calls left: nearly every call there is
            (first, first_rule), (second, second_rule) = charges
            before, also_before = full_at.get(first), full_at.get(second)
            if before is not None and also_before is not None and first != second:
                arrival = (before if before > now_ns else now_ns) + first_rule.interval_ns
                also = (also_before if also_before > now_ns else now_ns) + second_rule.interval_ns
                if arrival - now_ns <= first_rule.window_ns and also - now_ns <= second_rule.window_ns:
                    full_at[first], full_at[second] = arrival, also
                    return 0.0
        charged: dict[Hashable, int] = {}
        wait_ns = 0
        for key, rule in charges:
            before = charged.get(key)
            if before is None:
                before = full_at.get(key, 0)
            if before < now_ns:  # nothing of the burst is used; the usual case, without a call
                charged[key] = now_ns + rule.interval_ns
                continue
            charged[key] = arrival = next_arrival(before, rule, now_ns)
            wait_ns = max(wait_ns, arrival - now_ns - rule.window_ns)
        if wait_ns > SLACK_NS:
            return wait_ns / 1e9
        if len(full_at) + len(charged) > self._max_keys and not self._has_room(charged, now_ns):
            return SWEEP_INTERVAL_NS / 1e9
        self._full_at.update(charged)  # which the search for room may have replaced
        return 0.0

    def _has_room(self, charged: dict[Hashable, int], now_ns: int) -> bool:
        if now_ns >= self._next_sweep_ns or now_ns < self._next_sweep_ns - SWEEP_INTERVAL_NS:
            self._next_sweep_ns = now_ns + SWEEP_INTERVAL_NS
            self._full_at = {key: at for key, at in self._full_at.items() if at > now_ns}
        new = sum(key not in self._full_at for key in charged)
        return len(self._full_at) + new <= self._max_keys


def next_arrival(before: int, rule: RateRule, now_ns: int) -> int:
    """The arrival time of a key after one more call; the call is too early by what exceeds now and the window.

    In a clock that only moves forward, no arrival time lies further ahead than a full burst.
    """
    if before < now_ns:
        return now_ns + rule.interval_ns
    return min(before, now_ns + rule.window_ns) + rule.interval_ns
