"""What is served for each MCP method: answered here, or taken to the plugin and back.

Guarantees that what the gateway can say itself (lists, versions, capabilities) asks no plugin, that every other method
goes the whole road, that a request which names a prompt, tool or resource reaches the one plugin it can mean, and that
state of a call which travels through the client is sealed. Knows no HTTP (`door`, `visit`) and decides no call
(`checkpoint`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from sekisho.errors import RateLimited, Refused, RemoteProtocolError, SekishoError
from sekisho.gateway import answers
from sekisho.gateway.approvals import APPROVAL, approval_form, is_yes
from sekisho.gateway.caller import NO_EXTRAS, Caller, Extras, declared_by, modern_caller, spread
from sekisho.gateway.catalogue import Catalogue
from sekisho.gateway.checkpoint import House
from sekisho.gateway.gathering import Gathering
from sekisho.gateway.methods import METHODS, Wanted, params_of, read_wanted, refuse_near_names
from sekisho.gateway.questions import GATEWAY, Round, open_round, read_answers, seal_round
from sekisho.gateway.returns import Question
from sekisho.gateway.road import Clock, Outcome, Road
from sekisho.gateway.sessions import Session, Sessions
from sekisho.gateway.stages import Arrived, Call, Held, Refusal
from sekisho.gateway.subscriptions import Subscriptions
from sekisho.gateway.visit import Visit
from sekisho.protocol import (
    META_LOG_LEVEL,
    ClientRequest,
    Envelope,
    HttpRequest,
    JsonObject,
    JsonValue,
    PluginName,
    ToolName,
    negotiate,
    parse_tool_call,
    split,
)
from sekisho.registry import Definitions

__all__ = ["Service", "Withdrawable"]

_LISTS: Final = frozenset({"tools/list", "prompts/list", "resources/list", "resources/templates/list"})
_LEGACY_ONLY: Final = frozenset({"resources/subscribe", "resources/unsubscribe", "logging/setLevel"})
_TRAVELLERS: Final = frozenset(METHODS) - _LEGACY_ONLY
_ELICIT: Final = "elicitation/create"
_NOTHING: Final[JsonObject] = {}
_encode: Final = msgspec.json.Encoder().encode


class Withdrawable(Protocol):
    """Something under way that ends early when its client is gone."""

    def withdraw(self, reason: SekishoError) -> None:
        """End it."""


class Service:
    """Serves requests whose sender is known."""

    def __init__(
        self,
        *,
        house: Callable[[], House],
        road: Road,
        sessions: Sessions,
        clock: Clock,
        new_id: Callable[[], str],
        round_key: bytes,
    ) -> None:
        self._house = house
        self._road = road
        self._sessions = sessions
        self._clock = clock
        self._new_id = new_id
        self._round_key = round_key
        self._catalogue = Catalogue()
        self.subscriptions = Subscriptions(road, house, self._catalogue, new_id)
        self._plain: dict[str, Caller] = {}  # modern clients that can be asked nothing
        self.under_way: dict[tuple[str, str, int | str], Withdrawable] = {}
        self._held: dict[
            str, tuple[Visit, Held]
        ] = {}  # by question; each has a stream open, which bounds them

    def serve(
        self,
        message: ClientRequest,
        visit: Visit,
        session: Session | None,
        shape: Envelope,
        request: HttpRequest,
    ) -> Withdrawable | None:
        """Answer one request, or begin to; what is under way is returned."""
        visit.method = message.method
        if message.method == "tools/call":
            return self._call_tool(message, visit, self._caller(message, visit, session, shape), request)
        if message.method in _TRAVELLERS or (message.method in _LEGACY_ONLY and session is not None):
            refuse_near_names(message.params)
            return self._call_method(message, visit, self._caller(message, visit, session, shape))
        if message.method == "subscriptions/listen" and visit.modern:
            return self.subscriptions.listen(
                message.params, visit, self._caller(message, visit, session, shape)
            )
        self._say(message, visit)
        return None

    def withdraw(self, client: str, session: str, request: int | str) -> bool:
        """End a call that its caller withdrew; False when it is not under way here."""
        trip = self.under_way.get((client, session, request))
        if trip is not None:
            trip.withdraw(Refused("cancelled", "the caller withdrew the request"))
        return trip is not None

    # what no plugin has to be asked about

    def _say(self, message: ClientRequest, visit: Visit) -> None:
        house, client, endpoint = self._house(), visit.known_client, visit.endpoint
        match message.method:
            case method if method in _LISTS:
                cursor = message.params.get("cursor")
                if cursor is not None and not isinstance(cursor, str):
                    raise RemoteProtocolError("params_invalid", "a cursor is a text")
                visit.give(
                    self._catalogue.listing(house, client, endpoint, method, cursor, modern=visit.modern)
                )
            case "server/discover" if visit.modern:
                visit.give(answers.discover_result(house, client, endpoint))
            case "initialize" if not visit.modern:
                self._initialize(message, visit, house)
            case "ping" if not visit.modern:
                visit.give(b"{}")
            case _:
                raise RemoteProtocolError("method_unknown", "this method is not served")

    def _initialize(self, message: ClientRequest, visit: Visit, house: House) -> None:
        wish, capabilities = message.params.get("protocolVersion"), message.params.get("capabilities", {})
        if not isinstance(wish, str) or not isinstance(capabilities, dict):
            raise RemoteProtocolError("params_invalid", "initialize needs protocolVersion and capabilities")
        charge = (("sessions", visit.known_client), house.session_rate)
        wait_s = house.limiter.admit_all((charge,), visit.now)
        if wait_s > 0:
            raise RateLimited(wait_s)
        version = negotiate(wish)
        ticket = self._sessions.open(
            visit.known_client, visit.endpoint, version, visit.now, declared_by(capabilities)
        )
        visit.open_session(
            ticket, answers.initialize_result(version, house, visit.known_client, visit.endpoint)
        )

    # what goes the road

    def _call_tool(
        self, message: ClientRequest, visit: Visit, caller: Caller, request: HttpRequest
    ) -> Withdrawable:
        wanted = parse_tool_call(message.params)
        plugin, tool = _tool_of(wanted.name, visit.endpoint)
        if visit.modern:
            self._check_headers(plugin, tool, wanted.arguments, request)
        call = Call.of(visit.call_id, plugin, tool, wanted.arguments)
        return self._travel(call, message, visit, caller, wanted.meta)

    def _check_headers(
        self, plugin: PluginName, tool: str, arguments: JsonObject, request: HttpRequest
    ) -> None:
        """Arguments that the approved definition wants repeated in headers must be, and say the same."""
        standing = self._house().standings.get(plugin)
        definition = (
            None
            if standing is None or standing.definitions is None
            else standing.definitions.tools.get(ToolName(tool))
        )
        if definition is None or not definition.headers:
            return
        name = definition.headers.mismatch(arguments, request.headers)
        if name is not None:
            raise RemoteProtocolError("header_mismatch", f"the {name} header does not say what the body says")

    def _call_method(self, message: ClientRequest, visit: Visit, caller: Caller) -> Withdrawable:
        wanted = read_wanted(message.method, message.params)
        meta = message.params.get("_meta", _NOTHING)
        meta = meta if isinstance(meta, dict) else _NOTHING
        if message.method == "logging/setLevel":
            return self._set_level(wanted, message, visit, caller)
        plugin, name = self._owner(message.method, wanted, visit)
        params = params_of(message.method, wanted, name)
        call = Call.of(visit.call_id, plugin, message.method, params, target=name)
        return self._travel(call, message, visit, caller, meta)

    def _owner(self, method: str, wanted: Wanted, visit: Visit) -> tuple[PluginName, str]:
        """The one plugin that can be meant, and what it calls the thing."""
        house = self._house()
        if wanted.kind == "prompt":
            if visit.endpoint is not None:
                return visit.endpoint, wanted.name
            found = split(wanted.name)
            if found is None:
                raise Refused("prompt_unknown", "prompts at this endpoint are called <plugin>__<prompt>")
            return found
        if visit.endpoint is not None:
            return visit.endpoint, wanted.name
        return self._catalogue.owner(house, wanted.name, is_template=wanted.kind == "template"), wanted.name

    def _set_level(
        self, wanted: Wanted, message: ClientRequest, visit: Visit, caller: Caller
    ) -> Withdrawable:
        """Every plugin of the endpoint that writes log messages hears of it."""
        standings = self._house().standings
        named = sorted(standings) if visit.endpoint is None else [visit.endpoint]
        plugins = [name for name in named if _logs(standings[name].definitions)]
        if not plugins:
            raise RemoteProtocolError("method_unknown", "no plugin of this endpoint writes log messages")
        gathering = Gathering(len(plugins), lambda: visit.give(b"{}"))
        for plugin in plugins:
            call = Call.of(self._new_id(), plugin, message.method, wanted.params, target=wanted.name)
            arrived = Arrived(call, visit.authorization, visit.now, caller=caller)
            gathering.add(self._road.travel(arrived, gathering.settled, visit))
        return gathering

    def _travel(
        self, call: Call, message: ClientRequest, visit: Visit, caller: Caller, meta: JsonObject
    ) -> Withdrawable:
        text = spread(meta) if meta else b""
        extras, is_approved = (Extras(text) if text else NO_EXTRAS), False
        params = message.params
        if visit.modern and ("inputResponses" in params or "requestState" in params):
            extras, is_approved = self._further_round(call, params, visit, text)
        if extras is not NO_EXTRAS:
            call = Call.of(
                call.call_id, call.plugin, call.tool, call.parsed, target=call.target, extras=extras
            )
        token = meta.get("progressToken")
        if token is not None and visit.takes_streams:
            if isinstance(token, bool) or not isinstance(token, int | str):
                raise RemoteProtocolError("params_invalid", "a progress token is a string or an integer")
            visit.progress_token = token
        wants_progress = visit.progress_token is not None
        arrived = Arrived(call, visit.authorization, visit.now, wants_progress, caller, is_approved)
        if visit.key is not None and visit.key in self.under_way:
            raise RemoteProtocolError("message_invalid", "a request with this id is still in flight")
        return self._set_out(arrived, visit)

    def _set_out(self, arrived: Arrived, visit: Visit) -> Withdrawable:
        trip = self._road.travel(arrived, partial(self._reply, visit), visit)
        if visit.key is not None:  # it replies later, never before `travel` has returned
            self.under_way[visit.key] = trip
        return trip

    def _reply(self, visit: Visit, outcome: Outcome) -> None:
        if visit.key is not None:
            self.under_way.pop(visit.key, None)
        if isinstance(outcome, Refusal):
            visit.refuse(outcome.error)
        elif isinstance(outcome, Held):
            self._ask_person(visit, outcome)
        elif outcome.questions is not None:
            arrived = outcome.sealed.approved.inspected.permitted.identified.arrived
            self._give_round(visit, arrived, outcome.result, outcome.questions)
        elif outcome.sealed.call.is_of_tool:
            visit.give_call(outcome.result)
        else:
            visit.give(answers.method_result(visit.method, outcome.result, modern=visit.modern))

    # a person's word

    def _ask_person(self, visit: Visit, held: Held) -> None:
        """In a round of its own for a modern client, on the stream of the call for a legacy one."""
        form = approval_form(held.arrived.call)
        caller = held.arrived.caller
        if caller is None or "elicitation" not in caller.declared:
            self._refuse_held(visit, held, _nobody_to_ask())
            return
        if visit.modern:
            request: JsonValue = {"method": _ELICIT, "params": {"mode": "form", **form}}
            result = _encode({"resultType": "input_required", "inputRequests": {APPROVAL: request}})
            self._give_round(visit, held.arrived, result, {APPROVAL: "elicitation"})
            return
        ask = secrets.token_urlsafe(16)
        self._held[ask] = (visit, held)
        if not visit.question(GATEWAY, Question(ask, "elicitation", _ELICIT, _encode(form))):
            del self._held[ask]
            self._refuse_held(visit, held, _nobody_to_ask())
            return
        if visit.key is not None:
            self.under_way[visit.key] = _HeldCall(self, ask)

    def hear_word(self, ask: str, scope: str, answer: JsonObject | None) -> bool:
        """What the person behind a legacy client said; False when nobody waits for it here."""
        visit, held = self._held.get(ask, (None, None))
        if visit is None or held is None or held.arrived.caller is None or held.arrived.caller.scope != scope:
            return False
        self.drop_held(ask, None if answer is not None and is_yes(answer) else _said_no())
        return True

    def drop_held(self, ask: str, error: SekishoError | None) -> None:
        """A call that was held goes on, or is refused."""
        visit, held = self._held.pop(ask, (None, None))
        if visit is None or held is None:
            return
        if visit.key is not None:
            self.under_way.pop(visit.key, None)
        if error is not None:
            self._refuse_held(visit, held, error)
            return
        arrived = msgspec.structs.replace(held.arrived, is_approved=True, now=self._clock.now())
        self._set_out(arrived, visit)

    def _refuse_held(self, visit: Visit, held: Held, error: SekishoError) -> None:
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
        if APPROVAL not in one.kinds:
            return Extras(text, _encode(said) if said else b"", one.state), one.is_approved
        if not is_yes(_object(said.get(APPROVAL))):
            raise _said_no()
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
        )
        try:
            value["requestState"] = seal_round(self._round_key, one, self._clock.now())
        except SekishoError as error:
            visit.refuse(error)
            return
        visit.give(_encode(value))

    def _caller(
        self, message: ClientRequest, visit: Visit, session: Session | None, shape: Envelope
    ) -> Caller:
        if session is not None:
            visit.key = (visit.known_client, session.ident, message.id)
            return session.caller if visit.takes_streams else session.deaf
        meta = message.params.get("_meta", _NOTHING)
        meta = meta if isinstance(meta, dict) else _NOTHING
        client = visit.known_client
        if shape.capabilities or META_LOG_LEVEL in meta:
            return modern_caller(client, shape, meta)
        found = self._plain.get(client)
        if found is None:
            found = self._plain[client] = modern_caller(client, shape, {})
        return found


class _HeldCall:
    """A call that waits for a person's word."""

    def __init__(self, service: Service, ask: str) -> None:
        self._service = service
        self._ask = ask

    def withdraw(self, reason: SekishoError) -> None:
        """Nobody waits for it any more."""
        self._service.drop_held(self._ask, reason)


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


def _logs(definitions: Definitions | None) -> bool:
    return definitions is not None and definitions.announced.logging


def _tool_of(name: str, endpoint: PluginName | None) -> tuple[PluginName, str]:
    if endpoint is not None:
        return endpoint, name
    found = split(name)
    if found is None:
        raise Refused("tool_unknown", "tools at this endpoint are called <plugin>__<tool>")
    return found
