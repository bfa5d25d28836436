"""The hands around the gate: everything a call waits for, between `judge` and `release`.

The log is the bracket. The intent is written before the call leaves, the outcome before the caller hears of it; when
the log cannot be written nothing leaves and no result is handed out. Callbacks, no task per call. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from sekisho.audit import records
from sekisho.errors import PluginError, SekishoError, Unavailable
from sekisho.gateway.berths import Berths
from sekisho.gateway.checkpoint import House
from sekisho.gateway.freight import LARGE_BYTES, Freight, too_much
from sekisho.gateway.returns import GATE, Gate, release_error
from sekisho.gateway.sayings import Clock, Hears, Journal, Line, Sayings
from sekisho.gateway.stages import Answered, Arrived, Held, Refusal, Sealed
from sekisho.protocol import PluginName
from sekisho.telemetry import Metrics
from sekisho.wire import AskFrame, EventFrame

__all__ = ["Outcome", "Reply", "Road", "Trip"]

LISTEN: Final = "subscriptions/listen"
_NO_ROOM: Final = "the plugin carried the call out, but too many bytes of results are under way for one more"

Outcome = Answered | Held | Refusal
Reply = Callable[[Outcome], None]


class Trip:
    """One call under way; `withdraw` ends it early. Its methods are what the log and the line call back."""

    __slots__ = (
        "_hears",
        "_is_settled",
        "_line",
        "_notes",
        "_number",
        "_outcome",
        "_reply",
        "_road",
        "_said",
        "_salt",
        "_sealed",
        "_withdrawn",
    )

    def __init__(
        self, road: Road, reply: Reply, hears: Hears, sealed: Sealed | None = None, salt: bytes = b""
    ) -> None:
        """`sealed` is what the gate let through."""
        self._road = road
        self._reply = reply
        self._hears = hears
        self._sealed = sealed
        self._salt = salt
        self._notes: list[bytes] | None = None
        self._said: records.Said | None = None  # together with the answer
        self._line: Line | None = None
        self._number = 0
        self._outcome: Answered | Refusal | None = None
        self._withdrawn: SekishoError | None = None
        self._is_settled = False

    def withdraw(self, reason: SekishoError) -> None:
        """Tell the plugin server to stop and settle the call with `reason`; late answers are dropped."""
        self._withdrawn = reason  # the intent may still be on its way to the log: then nothing is sent at all
        line, self._line = self._line, None
        if line is not None:
            line.cancel(self._number)
            self._settle(reason)

    def recorded_intent(self, problem: SekishoError | None) -> None:
        """The log took the intent, or did not: send the call, or end it."""
        sealed = self._sealed
        assert sealed is not None  # noqa: S101  # the road asks the journal only for a trip that has it
        reason = problem or self._withdrawn
        if reason is not None:
            self._settle(reason)
            return
        line = self._road.lines.get(sealed.call.plugin)
        if line is None:
            self._settle(Unavailable("plugin_unavailable", f"plugin {sealed.call.plugin!r} has no line"))
            return
        self._line = line
        frame = sealed.frame
        if frame.wants_progress or frame.context:
            self._number = line.call(frame, self._settle, self._noted, self._heard)
        else:
            self._number = line.call(frame, self._settle)

    def _noted(self, notes: bytes) -> None:
        """The notes of one turn of the loop, each a line, are judged, recorded and told together."""
        if self._is_settled:
            return
        if self._notes is None:
            self._notes = [notes]
            self._road.clock.soon(self._pass_notes)
        else:
            self._notes.append(notes)

    def _pass_notes(self) -> None:
        notes = self._take_notes()
        if notes is not None and self._sealed is not None:
            self._road.sayings.note(self._sealed, notes, self._salt, self._hears.note)

    def _take_notes(self) -> bytes | None:
        notes, self._notes = self._notes, None
        if notes is None:
            return None
        return notes[0] if len(notes) == 1 else b"\n".join(notes)

    def _heard(self, frame: EventFrame | AskFrame) -> None:
        if self._is_settled or self._sealed is None:
            return
        self._pass_notes()  # the order in which a plugin speaks is kept
        if isinstance(frame, AskFrame):
            self._road.sayings.ask(self._sealed, frame, self._salt, self._hears)
        else:
            self._road.sayings.notice(self._sealed, frame, self._salt, self._hears.notice)

    def _settle(self, answer: bytes | memoryview | SekishoError) -> None:
        if self._is_settled or self._sealed is None:
            return
        self._is_settled = True
        self._line = None
        notes = self._take_notes()
        if notes is not None:  # what comes together shares a record, and is told before the answer
            self._said = self._road.sayings.judge(notes)
        self._outcome = self._road.arrive(
            self._sealed, answer, self._salt, self._recorded_outcome, self._said
        )

    def _recorded_outcome(self, problem: SekishoError | None) -> None:
        sealed, outcome = self._sealed, self._outcome
        assert sealed is not None and outcome is not None  # noqa: S101, PT018  # `_settle` set both
        self._road.leave(sealed, outcome)
        said = None if self._said is None else self._said[2]
        if problem is not None:
            outcome = Refusal.of(sealed.call, sealed.client, problem)
        elif said is not None:
            self._hears.note_last(said)
        self._reply(outcome)


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
        berths: Berths,
        freight: Freight,
        salt_of: Callable[[str], bytes],
        gate: Gate = GATE,
    ) -> None:
        self._gate = gate
        self.lines = cast(
            "dict[PluginName, Line]", lines
        )  # a mapping of any kind would be asked in many more steps
        self._house = house
        self._journal = journal
        self._metrics = metrics
        self.clock = clock
        self.sayings = Sayings(house=house, lines=lines, journal=journal, clock=clock)
        self._berths = berths
        self.freight = freight
        self._salt_of = salt_of

    @property
    def in_flight(self) -> int:
        """Calls that have been sealed and not yet answered."""
        return self._berths.taken

    def travel(self, arrived: Arrived, reply: Reply, hears: Hears) -> Trip:
        """Judge a call and carry it out; `reply` hears of it exactly once, after this has returned.

        `hears` is told before that what else the plugin says, judged and recorded as a result is.
        """
        verdict, call = self._gate.judge(arrived, self._house()), arrived.call
        if isinstance(verdict, Sealed):
            problem = self._enter(verdict)
            if problem is not None:
                verdict = Refusal.of(call, verdict.client, problem)
        if not isinstance(verdict, Sealed):
            if isinstance(verdict, Held):
                self._record_held(verdict, reply)
            else:
                self.record_refusal(verdict, arrived.now, reply)
            return Trip(self, reply, hears)
        self._metrics.tally.in_flight = self._berths.taken
        salt = self._salt_of(call.call_id)
        trip = Trip(self, reply, hears, verdict, salt)
        if arrived.is_approved:
            self._journal.append(
                _approval("approval_given", arrived, verdict.client), effect=False, done=_unheard
            )
        self._journal.append(
            records.intent(
                now=arrived.now,
                call=call.call_id,
                client=verdict.client,
                plugin=call.plugin,
                tool=call.tool,
                target=call.target,
                arguments=call.arguments,
                meta=call.extras.meta,
                answers=call.extras.input_responses,
                rules=verdict.approved.inspected.rules,
                salt=salt,
            ),
            effect=False,
            done=trip.recorded_intent,
        )
        line = self.lines.get(call.plugin)
        if line is not None:
            line.expect()  # behind the writing of the log, which is what sends the call
        return trip

    def _enter(self, sealed: Sealed) -> SekishoError | None:
        """A call is under way from now on, unless it is told why not."""
        call, client = sealed.call, sealed.client
        call.let_go()
        size = call.size
        if size > LARGE_BYTES and not self.freight.take(client, size):
            return too_much("as many bytes of calls are under way as may be")
        # whoever only listens keeps no plugin busy, and streams have a bound of their own
        reason = None if call.tool == LISTEN else self._berths.take(client, call.plugin)
        if reason is None:
            return None
        if size > LARGE_BYTES:
            self.freight.give(client, size)
        return Unavailable("busy", reason)

    def record_refusal(self, refusal: Refusal, now: float, reply: Callable[[Refusal], None]) -> None:
        """Record a refusal, then give it: even when the log is down, for it reveals nothing and has no effect."""
        self._metrics.refused(refusal.plugin, refusal.tool, refusal.error.code)
        self._journal.append(
            records.refusal(
                now=now,
                call=refusal.call_id,
                client=refusal.client,
                plugin=refusal.plugin or None,
                tool=refusal.tool or None,
                code=refusal.error.code,
                reason=refusal.error.message,
            ),
            effect=False,
            done=lambda _problem: reply(refusal),
        )

    def _record_held(self, held: Held, reply: Reply) -> None:
        """A call that waits for a person's word; without a record nobody is asked."""
        entry = _approval("approval_asked", held.arrived, held.client)

        def recorded(problem: SekishoError | None) -> None:
            reply(held if problem is None else Refusal.of(held.arrived.call, held.client, problem))

        self._journal.append(entry, effect=False, done=recorded)

    def arrive(
        self,
        sealed: Sealed,
        answer: bytes | memoryview | SekishoError,
        salt: bytes,
        recorded: Callable[[SekishoError | None], None],
        said: records.Said | None = None,
    ) -> Answered | Refusal:
        """Judge an answer and write down how the call ended, and what was `said` together with it."""
        call = sealed.call
        outcome: Answered | Refusal
        if not isinstance(answer, SekishoError):
            outcome = self._gate.release(sealed, answer, self._house())
        elif isinstance(answer, PluginError):
            outcome = release_error(sealed, answer, self._house())
        else:
            outcome = Refusal.of(call, sealed.client, answer)
        if isinstance(outcome, Answered):
            size = len(outcome.result)  # kept until it is on record
            if size > LARGE_BYTES and not self.freight.take(sealed.client, size):
                outcome = Refusal.of(call, sealed.client, too_much(_NO_ROOM))
        result: bytes | memoryview | None = None
        rules: tuple[str, ...] = ()
        code, reason = "ok", None
        if isinstance(outcome, Answered):
            result, rules = outcome.result, outcome.rules
        else:
            code, reason = outcome.error.code, outcome.error.message
        now = self.clock.now()
        started = sealed.approved.inspected.permitted.identified.arrived.now
        self._metrics.answered(call.plugin, call.tool, code, now - started)
        self._journal.append(
            records.outcome(
                now=now,
                call=call.call_id,
                client=sealed.client,
                plugin=call.plugin,
                tool=call.tool,
                code=code,
                reason=reason,
                result=result,
                rules=rules,
                said=said,
                salt=salt,
            ),
            effect=sealed.has_effect,
            done=recorded,
        )
        return outcome

    def record(self, entry: bytes, done: Callable[[SekishoError | None], None]) -> None:
        """Write down something that is no call."""
        self._journal.append(entry, effect=False, done=done)

    def leave(self, sealed: Sealed, outcome: Answered | Refusal) -> None:
        """A call is over."""
        if isinstance(outcome, Answered) and len(outcome.result) > LARGE_BYTES:
            self.freight.give(sealed.client, len(outcome.result))
        if sealed.call.size > LARGE_BYTES:
            self.freight.give(sealed.client, sealed.call.size)
        if sealed.call.tool == LISTEN:
            return
        self._berths.give(sealed.client, sealed.call.plugin)
        self._metrics.tally.in_flight = self._berths.taken


def _approval(name: str, arrived: Arrived, client: str) -> bytes:
    call = arrived.call
    return records.event(
        now=arrived.now, name=name, call=call.call_id, client=client, plugin=call.plugin, tool=call.tool
    )


def _unheard(problem: SekishoError | None) -> None:
    """What this record belongs to has one of its own, which cannot be written either then."""
