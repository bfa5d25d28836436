"""The hands around the gate: everything a call waits for, between `judge` and `release`.

The log is the bracket. The intent is written before the call leaves, the outcome before the caller hears of it; when
the log cannot be written nothing leaves and no result is handed out. Callbacks, no task per call. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sekisho.audit import records
from sekisho.errors import SekishoError, Unavailable
from sekisho.gateway.checkpoint import House, judge, release
from sekisho.gateway.stages import Answered, Arrived, Refusal, Sealed
from sekisho.protocol import PluginName
from sekisho.telemetry import Metrics
from sekisho.wire import CallFrame

__all__ = ["Clock", "Journal", "Line", "Outcome", "Road", "Timer", "Trip"]

Outcome = Answered | Refusal

# A plugin server enforces the execution timeout itself; the core waits this much longer before it gives up on it.
TIMEOUT_GRACE_S = 5.0


class Journal(Protocol):
    """The log: `done` is called with None once the entry is on record, or with the reason why it is not."""

    def append(
        self, entry: Mapping[str, object], *, effect: bool, done: Callable[[SekishoError | None], None]
    ) -> int:
        """Queue one entry and return its index."""


class Line(Protocol):
    """The sealed channel to one plugin server."""

    def call(self, frame: CallFrame, done: Callable[[bytes | SekishoError], None]) -> int:
        """Send a call; `done` hears of it exactly once."""

    def cancel(self, call_id: int) -> None:
        """Withdraw a call; its answer no longer matters."""


class Timer(Protocol):
    """A wait that can be ended early."""

    def cancel(self) -> None:
        """Forget it."""


class Clock(Protocol):
    """Time as the road needs it."""

    def now(self) -> float:
        """Unix time in seconds."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` once after `delay_s`."""


@dataclass(slots=True, eq=False)
class Trip:
    """One call under way; `withdraw` ends it early."""

    sealed: Sealed | None = None
    line: Line | None = None
    line_call: int | None = None
    timer: Timer | None = None
    settle: Callable[[bytes | SekishoError], None] | None = field(default=None, repr=False)
    withdrawn: SekishoError | None = None

    def withdraw(self, reason: SekishoError) -> None:
        """Tell the plugin server to stop and settle the call with `reason`; late answers are dropped."""
        self.withdrawn = reason  # the intent may still be on its way to the log: then nothing is sent at all
        if self.line is not None and self.line_call is not None:
            self.line.cancel(self.line_call)
        if self.settle is not None:
            self.settle(reason)


class Road:
    """Takes calls from the door to the plugin servers and back."""

    def __init__(
        self,
        *,
        house: Callable[[], House],
        lines: Mapping[PluginName, Line],
        journal: Journal,
        metrics: Metrics,
        clock: Clock,
        max_in_flight: int,
        salt_of: Callable[[str], bytes],
    ) -> None:
        self._house = house
        self._lines = lines
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._salt_of = salt_of
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Calls that have been sealed and not yet answered."""
        return self._in_flight

    def travel(self, arrived: Arrived, reply: Callable[[Outcome], None]) -> Trip:
        """Judge a call and carry it out; `reply` hears of it exactly once."""
        trip = Trip()
        verdict = judge(arrived, self._house())
        if isinstance(verdict, Sealed) and self._in_flight >= self._max_in_flight:
            verdict = Refusal(
                call=arrived.call,
                client=verdict.client,
                error=Unavailable("busy", f"{self._in_flight} calls are in flight"),
            )
        if isinstance(verdict, Refusal):
            self._refuse(verdict, arrived.now, reply)
            return trip
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        trip.sealed = verdict
        call = verdict.call
        self._journal.append(
            records.intent(
                now=arrived.now,
                call=call.call_id,
                client=verdict.client,
                plugin=call.plugin,
                tool=call.tool,
                arguments=call.arguments,
                salt=self._salt_of(call.call_id),
            ),
            effect=False,
            done=lambda problem: self._forward(trip, arrived.now, problem, reply),
        )
        return trip

    def record_refusal(self, refusal: Refusal, now: float, reply: Callable[[Refusal], None]) -> None:
        """Record a refusal that happened before a call could be read."""
        self._refuse(refusal, now, reply)

    def _refuse(self, refusal: Refusal, now: float, reply: Callable[[Refusal], None]) -> None:
        self._metrics.refused(refusal.call.plugin, refusal.call.tool, refusal.error.code)
        self._journal.append(
            records.refusal(
                now=now,
                call=refusal.call.call_id,
                client=refusal.client,
                plugin=refusal.call.plugin or None,
                tool=refusal.call.tool or None,
                code=refusal.error.code,
                reason=refusal.error.message,
            ),
            effect=False,
            # A refusal is given even when the log is down: it reveals nothing and has no effect.
            done=lambda _problem: reply(refusal),
        )

    def _forward(
        self, trip: Trip, started: float, problem: SekishoError | None, reply: Callable[[Outcome], None]
    ) -> None:
        sealed = trip.sealed
        assert sealed is not None  # noqa: S101  # travel sets it before it asks the journal
        settled = False

        def settle(answer: bytes | SekishoError) -> None:
            nonlocal settled
            if settled:
                return
            settled = True
            if trip.timer is not None:
                trip.timer.cancel()
            self._arrive(sealed, answer, started, reply)

        trip.settle = settle
        line = self._lines.get(sealed.call.plugin)
        reason = problem or trip.withdrawn
        if reason is not None:
            settle(reason)
        elif line is None:
            settle(Unavailable("plugin_unavailable", f"plugin {sealed.call.plugin!r} has no line"))
        else:
            trip.line = line
            trip.timer = self._clock.call_later(
                sealed.frame.timeout_s + TIMEOUT_GRACE_S,
                lambda: trip.withdraw(
                    Unavailable("plugin_timeout", "the plugin server did not answer in time")
                ),
            )
            trip.line_call = line.call(sealed.frame, settle)

    def _arrive(
        self,
        sealed: Sealed,
        answer: bytes | SekishoError,
        started: float,
        reply: Callable[[Outcome], None],
    ) -> None:
        outcome: Outcome = (
            Refusal(call=sealed.call, client=sealed.client, error=answer)
            if isinstance(answer, SekishoError)
            else release(sealed, answer, self._house())
        )
        code = outcome.error.code if isinstance(outcome, Refusal) else "ok"
        reason = outcome.error.message if isinstance(outcome, Refusal) else None
        now = self._clock.now()
        self._metrics.answered(sealed.call.plugin, sealed.call.tool, code, now - started)

        def recorded(problem: SekishoError | None) -> None:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            if problem is not None:
                reply(Refusal(call=sealed.call, client=sealed.client, error=problem))
            else:
                reply(outcome)

        self._journal.append(
            records.outcome(
                now=now,
                call=sealed.call.call_id,
                client=sealed.client,
                plugin=sealed.call.plugin,
                tool=sealed.call.tool,
                code=code,
                reason=reason,
                result=outcome.result if isinstance(outcome, Answered) else None,
                salt=self._salt_of(sealed.call.call_id),
            ),
            effect=not sealed.definition.read_only,
            done=recorded,
        )
