"""Denials on their way to a core: each is recorded by one core, and none is lost while the plugin server lives.

Guarantees
- a denial is sent to one core, and again to another when that one is gone before it said that the record stands; so it
  may be recorded twice, under one number, and never not at all;
- what waits is bounded, and a plugin that provokes denials without end is heard at a bounded rate, of each kind and of
  all together; how many were left out is told with the next one;
- a core hears no plugin server at more than twice that rate, whatever the server is made of.

Judgement only: the channels and the instant are arguments. Knows neither walls nor logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, get_args

import msgspec

from sekisho.policy import RateLimiter, RateRule
from sekisho.wire.frames import Kind
from sekisho.wire.messages import MAX_COUNT, MAX_SAID_CHARS, DenialFrame, DenialKind, encode_payload

__all__ = ["Channel", "Hearing", "Outbox"]

RATE: Final = RateRule(per_minute=600, burst=200)  # a probing plugin shows itself in far fewer
KIND_RATE: Final = RateRule(
    per_minute=150, burst=50
)  # of one kind: a flood of these must not hide one of those
MAX_WAITING: Final = 1_000
# All that may wait, several times over, and twice the rate: no outbox of ours tells more, and more would fill the log.
HEARD_RATE: Final = RateRule(per_minute=1_200, burst=4 * MAX_WAITING)


class Channel(Protocol):
    """One open line to a core."""

    @property
    def is_open(self) -> bool:
        """False once nothing can be sent any more."""

    def send(self, kind: Kind, payload: bytes, number: int = 0) -> None:
        """Send a frame that belongs to no call."""


class Outbox:
    """What was denied and is not known to be recorded; `channels` are looked at whenever something is sent."""

    def __init__(
        self,
        channels: Callable[[], Iterable[Channel]],
        clock: Callable[[], float],
        *,
        rate: RateRule = RATE,
        kind_rate: RateRule = KIND_RATE,
    ) -> None:
        self._channels = channels
        self._clock = clock
        self._rate = rate
        self._kind_rate = kind_rate
        self._limiter = RateLimiter(max_keys=1 + len(get_args(DenialKind)))
        self._waiting: dict[int, bytes] = {}
        self._last = 0
        self._left_out = 0
        self._used: Channel | None = None

    def put(self, denial: DenialFrame) -> None:
        """Tell a core, now or as soon as there is one."""
        charges = (("all", self._rate), (denial.kind, self._kind_rate))
        full = len(self._waiting) >= MAX_WAITING
        if full or self._limiter.admit_all(charges, self._clock()) > 0:
            self._left_out += 1 + denial.left_out
            return
        self._last += 1
        self._waiting[self._last] = encode_payload(
            msgspec.structs.replace(
                denial,
                rule=denial.rule[:MAX_SAID_CHARS],
                reason=denial.reason[:MAX_SAID_CHARS],
                target=denial.target[:MAX_SAID_CHARS],
                left_out=min(denial.left_out + self._left_out, MAX_COUNT),
            )
        )
        self._left_out = 0
        self._send(self._last)

    def recorded(self, number: int) -> None:
        """A core says that this one is in its log."""
        self._waiting.pop(number, None)

    def send_again(self) -> None:
        """A core joined or left: what is not known to be recorded goes to one that is there."""
        if self._used is None or not self._used.is_open:
            for number in self._waiting:
                self._send(number)

    def _send(self, number: int) -> None:
        if self._used is None or not self._used.is_open:
            self._used = next((one for one in self._channels() if one.is_open), None)
        if self._used is not None:
            self._used.send(Kind.DENIAL, self._waiting[number], number)


class Hearing:
    """The core's side of one plugin server, over all its channels."""

    def __init__(
        self, tell: Callable[[DenialFrame, Callable[[], None]], None], clock: Callable[[], float]
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._limiter = RateLimiter(max_keys=1)

    def hear(self, denial: DenialFrame, recorded: Callable[[], None]) -> None:
        """Pass it on; one too many is neither recorded nor said to be, and so comes again if it was honest."""
        if self._limiter.admit("denials", HEARD_RATE, self._clock()) == 0:
            self._tell(denial, recorded)
