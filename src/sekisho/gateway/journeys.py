"""The journey of one request along the road: rounds with a modern client, a person's word, and the answer in its form.

Guarantees that a call which is under way can be withdrawn by whoever named it, that the state of a further round opens
only for the call it was sealed for, and that a call which needs a person's word goes on only with it: asked in a round of
its own from a modern client, on the stream of the call from a legacy one, and refused with the way out where nobody can
be asked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.approvals import APPROVAL, approval_form, is_yes
from sekisho.gateway.caller import NO_EXTRAS, Caller, Extras, spread
from sekisho.gateway.freight import LARGE_BYTES, too_much
from sekisho.gateway.guest import Withdrawable
from sekisho.gateway.questions import GATEWAY, MAX_AGE_S, Round, open_round, read_answers, seal_round
from sekisho.gateway.remarks import Question
from sekisho.gateway.request_ids import RequestIds
from sekisho.gateway.road import Outcome, Road
from sekisho.gateway.sayings import Clock
from sekisho.gateway.stages import Answered, Arrived, Call, Held, Refusal
from sekisho.gateway.tasks import TASK_METHODS, MadeTask, seal_task
from sekisho.gateway.visit import Visit
from sekisho.protocol import META_CALL, JsonObject, JsonValue

__all__ = ["Journeys"]

_ELICIT: Final = "elicitation/create"
_encode: Final = msgspec.json.Encoder().encode


class Journeys:
    """All journeys of this process."""

    def __init__(
        self,
        *,
        road: Road,
        clock: Clock,
        round_key: bytes,
        spend: Callable[[str, float, float], bool],
        run: str = "",
        request_ids: RequestIds | None = None,
    ) -> None:
        """`spend` is True the first time for what is good for one, in this `run`; `request_ids` are of all processes."""
        self._spend = spend
        self._run = run
        self._request_ids = request_ids
        self._road = road
        self._clock = clock
        self._round_key = round_key
        self._under_way: dict[tuple[str, str, int | str], Withdrawable] = {}
        self._held: dict[
            str, tuple[Visit, Held]
        ] = {}  # by question; each has a stream open, which bounds them

    def begin(
        self, call: Call, params: JsonObject, meta: JsonObject, visit: Visit, caller: Caller
    ) -> Withdrawable:
        """Send a call on its way; `params` and `meta` are those of the whole request."""
        is_approved = wants_progress = False
        if meta or visit.modern:
            text = spread(meta) if meta else b""
            extras = Extras(text) if text else NO_EXTRAS
            has_answers = visit.modern and ("inputResponses" in params or "requestState" in params)
            if has_answers and call.tool not in TASK_METHODS:
                extras, is_approved = self._further_round(call, params, visit, text)
            if extras is not NO_EXTRAS:
                call = call.carrying(extras)
            token = meta.get("progressToken") if visit.takes_streams else None
            if token is not None:
                visit.progress_token, wants_progress = _progress_token(token), True
        arrived = Arrived(
            call,
            visit.principal,
            visit.now,
            wants_progress=wants_progress,
            caller=caller,
            is_approved=is_approved,
        )
        key = visit.key
        if key is not None:
            is_new = key not in self._under_way
            if is_new and self._request_ids is not None:
                is_new = self._request_ids.take(key[1], key[2])
            if not is_new:
                raise RemoteProtocolError("message_invalid", "a request with this id is still in flight")
            self._under_way[key] = visit
        # it replies later, never before `travel` has returned
        visit.under_way = self._road.travel(arrived, partial(self._reply, visit), visit)
        return visit

    def _end(self, visit: Visit) -> None:
        """It is answered now."""
        visit.under_way = None  # the trip knows the visit too, and nobody has to look for such a circle
        key = visit.key
        if key is not None and self._under_way.pop(key, None) is not None and self._request_ids is not None:
            self._request_ids.give(key[1], key[2])

    def _reply(self, visit: Visit, outcome: Outcome) -> None:
        if isinstance(outcome, Held):
            self._ask_person(visit, outcome)
            return
        self._end(visit)
        if isinstance(outcome, Refusal):
            visit.refuse(outcome.error)
        elif visit.method == "tools/call" and outcome.questions is None and outcome.made is None:
            visit.give_call(outcome.result, has_meta=outcome.has_meta)
        else:
            self._give(visit, outcome)

    def _give(self, visit: Visit, answered: Answered) -> None:
        if answered.questions is not None:
            arrived = answered.sealed.approved.inspected.permitted.identified.arrived
            self._give_round(visit, arrived, bytes(answered.result), answered.questions)
        elif answered.made is not None:
            self._give_task(visit, answered, answered.made)
        else:
            visit.give_method(bytes(answered.result), has_meta=answered.has_meta)

    def withdraw(self, client: str, session: str, request: int | str) -> bool:
        """End a call that its caller withdrew; False when it is not under way here."""
        trip = self._under_way.get((client, session, request))
        if trip is not None:
            trip.withdraw(Refused("cancelled", "the caller withdrew the request"))
        return trip is not None

    # a person's word

    def _ask_person(self, visit: Visit, held: Held) -> None:
        """In a round of its own for a modern client, on the stream of the call for a legacy one."""
        form = approval_form(held.arrived.call)
        caller = held.arrived.caller
        if caller is None or "elicitation" not in caller.declared:
            self._refuse_held(visit, held, _nobody_to_ask())
            return
        if visit.modern:
            self._end(visit)
            request: JsonValue = {"method": _ELICIT, "params": {"mode": "form", **form}}
            result = _encode({"resultType": "input_required", "inputRequests": {APPROVAL: request}})
            self._give_round(visit, held.arrived, result, {APPROVAL: "elicitation"})
            return
        ask = secrets.token_urlsafe(16)
        size = held.arrived.call.size
        if size > LARGE_BYTES and not self._road.freight.take(held.client, size):
            self._refuse_held(visit, held, too_much("as many bytes of calls wait as may be"))
            return
        self._held[ask] = (visit, held)
        if not visit.question(GATEWAY, Question(ask, "elicitation", _ELICIT, _encode(form))):
            self.drop_held(ask, _nobody_to_ask())
            return
        visit.under_way = _HeldCall(self, ask)

    def hear_word(self, ask: str, scope: str, *, said_yes: bool) -> bool:
        """What the person behind a legacy client said; False when nobody waits for it here."""
        visit, held = self._held.get(ask, (None, None))
        if visit is None or held is None or held.arrived.caller is None or held.arrived.caller.scope != scope:
            return False
        self.drop_held(ask, None if said_yes else _said_no())
        return True

    def expire(self, now: float) -> None:
        """Refuse the calls whose person did not answer in time; to be called every second or so."""
        late = [ask for ask, (_, held) in self._held.items() if now - held.arrived.now > MAX_AGE_S]
        for ask in late:
            self.drop_held(ask, Refused("approval_refused", "nobody answered in time"))

    def drop_held(self, ask: str, error: SekishoError | None) -> None:
        """A call that was held goes on, or is refused."""
        visit, held = self._held.pop(ask, (None, None))
        if visit is None or held is None:
            return
        if held.arrived.call.size > LARGE_BYTES:
            self._road.freight.give(held.client, held.arrived.call.size)
        if error is not None:
            self._refuse_held(visit, held, error)
            return
        arrived = held.arrived.approved(self._clock.now())
        visit.under_way = self._road.travel(arrived, partial(self._reply, visit), visit)

    def _refuse_held(self, visit: Visit, held: Held, error: SekishoError) -> None:
        self._end(visit)
        refusal = Refusal.of(held.arrived.call, held.client, error)
        self._road.record_refusal(refusal, self._clock.now(), lambda given: visit.refuse(given.error))

    # rounds

    def _open_round(self, call: Call, params: JsonObject, visit: Visit) -> Round | None:
        state = params.get("requestState")
        if state is None:
            return None
        if not isinstance(state, str):
            raise RemoteProtocolError("params_invalid", "requestState is a text")
        return open_round(
            self._round_key,
            state,
            client=visit.known_client,
            endpoint=visit.endpoint or "",
            operation=call.operation,
            now=visit.now,
        )

    def _further_round(
        self, call: Call, params: JsonObject, visit: Visit, text: bytes
    ) -> tuple[Extras, bool]:
        """What a client brings to a further round, and whether a person said yes to the call."""
        one = self._open_round(call, params, visit)
        said = read_answers(params.get("inputResponses", {}), None if one is None else one.kinds)
        if one is None:
            return Extras(text, _encode(said) if said else b""), False
        is_of_approval = APPROVAL in one.kinds
        if is_of_approval or one.is_approved:
            # One question has one answer, and a yes is for one call, however often its client sends it.
            if one.run != self._run or not self._spend(str(params["requestState"]), visit.now, MAX_AGE_S):
                raise Refused(
                    "approval_refused", "this question counts no more; call again to be asked again"
                )
            if is_of_approval and not is_yes(_object(said.get(APPROVAL))):
                raise _said_no()
        if not is_of_approval:
            return Extras(text, _encode(said) if said else b"", one.state), one.is_approved
        return (Extras(text) if text else NO_EXTRAS), True

    def _give_round(self, visit: Visit, arrived: Arrived, result: bytes, kinds: dict[str, str]) -> None:
        value: dict[str, JsonValue] = msgspec.json.decode(result)
        state = value.get("requestState")
        one = Round(
            visit.known_client,
            visit.endpoint or "",
            arrived.call.operation,
            state if isinstance(state, str) else None,
            kinds,
            arrived.is_approved,
            self._run,
        )
        try:
            value["requestState"] = seal_round(self._round_key, one, self._clock.now())
        except SekishoError as error:
            visit.refuse(error)
            return
        value["_meta"] = {META_CALL: visit.call_id}
        visit.give(_encode(value))

    def _give_task(self, visit: Visit, answered: Answered, made: MadeTask) -> None:
        """The task that a plugin made, under an id that opens for this client alone."""
        call = answered.sealed.call
        value: dict[str, JsonValue] = msgspec.json.decode(answered.result)
        value["taskId"] = seal_task(
            self._round_key,
            made,
            client=visit.known_client,
            endpoint=visit.endpoint or "",
            plugin=call.plugin,
            tool=call.tool,
            now=self._clock.now(),
        )
        value["_meta"] = {**_object(value.get("_meta", {})), META_CALL: visit.call_id}
        visit.give(_encode(value))


class _HeldCall:
    """A call that waits for a person's word."""

    def __init__(self, journeys: Journeys, ask: str) -> None:
        self._journeys = journeys
        self._ask = ask

    def withdraw(self, reason: SekishoError) -> None:
        """Nobody waits for it any more."""
        self._journeys.drop_held(self._ask, reason)


def _progress_token(token: JsonValue) -> int | str:
    if isinstance(token, bool) or not isinstance(token, int | str):
        raise RemoteProtocolError("params_invalid", "a progress token is a string or an integer")
    return token


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _said_no() -> Refused:
    return Refused("approval_refused", "the person behind the client did not allow this call")


def _nobody_to_ask() -> Refused:
    return Refused(
        "approval_refused",
        "this operation needs a person's approval, and this client cannot ask one",
        remedy="use a client that supports elicitation, or the operator sets approval.answer in the configuration",
    )
