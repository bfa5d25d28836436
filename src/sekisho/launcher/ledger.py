"""What a watcher has seen and not yet told: each refusal once, with how often, at a bounded rate.

Guarantees that a refusal is handed out at the next `due`, that the same one again is counted and handed out later, that
no flood makes the ledger grow or speak faster than its rate, and that what is left out is counted. The instant is an
argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.launcher.places import Refusal

__all__ = ["FLUSH_S", "Ledger", "Purse"]

FLUSH_S: Final = (
    0.1  # between two tellings; what asks whether the host has a path cannot be timed by the plugin
)
REPEAT_S: Final = 10.0  # what was told before is told again with its count
BURST: Final = 32  # refusals that are told one by one at once
PER_S: Final = 2.0  # and from then on
MAX_WAITING: Final = 256  # different refusals until the next telling
MAX_TOLD: Final = 512  # refusals that are remembered as told
BURST_CPU_S: Final = 0.5  # some fifty thousand opened files
CPU_SHARE: Final = 0.1  # of a processor, from then on


class Ledger:
    """Refusals of one plugin; `is_one` says outside the walls whether it is one after all."""

    def __init__(self, is_one: Callable[[Refusal], bool], now: float) -> None:
        self._is_one = is_one
        self._waiting: dict[Refusal, int] = {}
        self._told: dict[Refusal, int] = {}  # and how often since
        self._left_out = 0
        self._tokens = float(BURST)
        self._filled_at = self._repeated_at = now
        self.due_at: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether something was noted that has not been judged."""
        return bool(self._waiting)

    def note(self, refusal: Refusal, now: float) -> None:
        """One more."""
        if refusal in self._waiting:
            self._waiting[refusal] += 1
        elif refusal in self._told:
            self._told[refusal] += 1
        else:
            self._waiting[refusal] = 1
        if self.due_at is None:
            self.due_at = now + FLUSH_S
        if len(self._waiting) >= MAX_WAITING:
            self.due_at = now  # a flood of paths that nobody has must not hide one

    def due(self, now: float, *, is_last: bool = False) -> tuple[list[tuple[Refusal, int]], int]:
        """What is to be told now, and how many more there were."""
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * PER_S)
        self._filled_at, self.due_at = now, None
        waiting, self._waiting = self._waiting, {}
        told = []
        for refusal, times in waiting.items():
            if not self._is_one(refusal):
                continue
            if self._tokens < 1:
                self._left_out += times
                continue
            self._tokens -= 1
            told.append((refusal, times))
            self._told[refusal] = 0
        if is_last or now - self._repeated_at >= REPEAT_S:
            self._repeated_at = now
            told += [(refusal, times) for refusal, times in self._told.items() if times]
            self._told = dict.fromkeys(self._told, 0)
        while len(self._told) > MAX_TOLD:
            self._left_out += self._told.pop(next(iter(self._told)))
        left_out, self._left_out = self._left_out, 0
        return told, left_out


class Purse:
    """Processor time for one plugin's files: a burst, and a share of a processor in the long run."""

    def __init__(self, now: float, used_s: float) -> None:
        self._left_s = BURST_CPU_S
        self._at, self._used_s = now, used_s

    def pause_s(self, now: float, used_s: float) -> float:
        """How long to wait before the next one, after `used_s` of processor time altogether; 0 is not at all."""
        self._left_s += (now - self._at) * CPU_SHARE - (used_s - self._used_s)
        self._left_s = min(self._left_s, BURST_CPU_S)
        self._at, self._used_s = now, used_s
        return max(0.0, -self._left_s / CPU_SHARE)
