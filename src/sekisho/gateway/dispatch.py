"""What is served for each MCP method: answered here, or taken to the plugin and back.

Guarantees that what the gateway can say itself (lists, versions, capabilities) asks no plugin, that every other method
goes the whole road, that a request which names a prompt, tool or resource reaches the one plugin it can mean, and that
state of a call which travels through the client is sealed. Knows no HTTP (`door`, `visit`) and decides no call
(`checkpoint`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sekisho.errors import RateLimited, Refused, RemoteProtocolError
from sekisho.gateway.caller import TASKS, Caller, declared_by, modern_caller
from sekisho.gateway.catalogue import Catalogue
from sekisho.gateway.checkpoint import House, rate_key
from sekisho.gateway.cursors import Cursors
from sekisho.gateway.gathering import Gathering
from sekisho.gateway.guest import Withdrawable
from sekisho.gateway.journeys import Journeys
from sekisho.gateway.methods import METHODS, Wanted, params_of, read_wanted, refuse_near_names
from sekisho.gateway.owners import prompt_target
from sekisho.gateway.request_ids import RequestIds
from sekisho.gateway.road import Road
from sekisho.gateway.sayings import Clock
from sekisho.gateway.sessions import Session, Sessions
from sekisho.gateway.stages import Arrived, Call, Refusal
from sekisho.gateway.subscriptions import Subscriptions
from sekisho.gateway.tasks import TASK_METHODS, capability_missing, open_task, task_params
from sekisho.gateway.tracing import with_trace
from sekisho.gateway.visit import Visit
from sekisho.protocol import (
    ClientRequest,
    Envelope,
    HeaderPlan,
    HttpRequest,
    JsonObject,
    PluginName,
    ToolName,
    negotiate,
    parse_tool_call,
    says_trace,
    split,
)
from sekisho.registry import Definitions

__all__ = ["Dispatcher"]

MAX_CALLERS: Final = 4096  # an authorization server may know any number of clients

_LISTS: Final = frozenset({"tools/list", "prompts/list", "resources/list", "resources/templates/list"})
_LEGACY_ONLY: Final = frozenset({"resources/subscribe", "resources/unsubscribe", "logging/setLevel"})
_TRAVELLERS: Final = frozenset(METHODS) - _LEGACY_ONLY
_NOTHING: Final[JsonObject] = {}


class Dispatcher:
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
        request_ids: RequestIds | None = None,
    ) -> None:
        self._house = house
        self._road = road
        self.freight = road.freight
        self._sessions = sessions
        self._new_id = new_id
        self._round_key = round_key
        self.journeys = Journeys(
            road=road,
            clock=clock,
            round_key=round_key,
            spend=sessions.spend,
            run=sessions.run,
            request_ids=request_ids,
        )
        self._catalogue = Catalogue(Cursors(round_key))
        self.subscriptions = Subscriptions(road, house, self._catalogue, new_id, task_key=round_key)
        self._plain: dict[str, Caller] = {}  # modern clients that can be asked nothing

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
            return self._call_method(message, visit, self._caller(message, visit, session, shape), request)
        if message.method in TASK_METHODS and visit.modern and self._makes_tasks(visit):
            return self._call_task(message, visit, self._caller(message, visit, session, shape), request)
        if message.method == "subscriptions/listen" and visit.modern:
            return self.subscriptions.listen(
                message.params, visit, self._caller(message, visit, session, shape)
            )
        self._say(message, visit)
        return None

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
                visit.give(self._catalogue.discovered(house, client, endpoint))
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
        charge = (rate_key("sessions", visit.known_client), house.session_rate)
        wait_s = house.limiter.admit_all((charge,), visit.now)
        if wait_s > 0:
            raise RateLimited(wait_s)
        version = negotiate(wish)
        ticket = self._sessions.open(
            visit.known_client, visit.endpoint, version, visit.now, declared_by(capabilities)
        )
        visit.open_session(
            ticket, self._catalogue.initialized(version, house, visit.known_client, visit.endpoint)
        )

    # what goes the road

    def _call_tool(
        self, message: ClientRequest, visit: Visit, caller: Caller, request: HttpRequest
    ) -> Withdrawable:
        wanted = parse_tool_call(message.params)
        plugin, tool = _tool_of(wanted.name, visit.endpoint)
        if visit.modern:
            standing = self._house().standings.get(plugin)
            definitions = None if standing is None else standing.definitions
            if definitions is not None and definitions.header_plans:
                _check_headers(definitions.header_plans.get(ToolName(tool)), wanted.arguments, request)
        call = Call.of(visit.call_id, plugin, tool, wanted.arguments)
        # nearly always a head that is kept, and none is that says a trace (`door`)
        meta = wanted.meta if request.note is not None else self._traced(wanted.meta, plugin, request)
        return self.journeys.begin(call, message.params, meta, visit, caller)

    def _traced(self, meta: JsonObject, plugin: PluginName, request: HttpRequest) -> JsonObject:
        """The `_meta` of a call, with what its head says of its trace where the plugin is to have that."""
        if not says_trace(request.headers):
            return meta
        standing = self._house().standings.get(plugin)
        if standing is None or not standing.trace:
            return meta
        return with_trace(meta, request.headers, standing.trace)

    def _call_method(
        self, message: ClientRequest, visit: Visit, caller: Caller, request: HttpRequest
    ) -> Withdrawable:
        wanted = read_wanted(message.method, message.params)
        if message.method == "logging/setLevel":
            return self._set_level(wanted, message, visit, caller)
        plugin, name = self._owner(wanted, visit)
        params = params_of(message.method, wanted, name)
        call = Call.of(visit.call_id, plugin, message.method, params, target=name)
        meta = self._traced(_meta_of(message), plugin, request)
        return self.journeys.begin(call, message.params, meta, visit, caller)

    def _makes_tasks(self, visit: Visit) -> bool:
        """Whether a plugin of this endpoint that the client may use makes tasks; else nobody knows the methods."""
        house = self._house()
        named = house.standings if visit.endpoint is None else (visit.endpoint,)
        return any(
            TASKS in house.standings[name].client_requests
            and house.access.permits_any(visit.known_client, name)
            for name in named
        )

    def _call_task(
        self, message: ClientRequest, visit: Visit, caller: Caller, request: HttpRequest
    ) -> Withdrawable:
        if TASKS not in caller.declared:
            raise capability_missing("this client did not declare that it knows tasks")
        task = open_task(
            self._round_key,
            message.params.get("taskId"),
            client=visit.known_client,
            endpoint=visit.endpoint or "",
            now=visit.now,
        )
        params = task_params(message.method, message.params, task)
        call = Call.of(visit.call_id, task.plugin, message.method, params, target=task.tool, tasks=(task,))
        meta = self._traced(_meta_of(message), task.plugin, request)
        return self.journeys.begin(call, message.params, meta, visit, caller)

    def _owner(self, wanted: Wanted, visit: Visit) -> tuple[PluginName, str]:
        """The one plugin that can be meant, and what it calls the thing."""
        house = self._house()
        if wanted.kind == "prompt":
            if visit.endpoint is not None:
                return visit.endpoint, wanted.name
            return prompt_target(wanted.name)
        if visit.endpoint is not None:
            return visit.endpoint, wanted.name
        is_template, client = wanted.kind == "template", visit.known_client
        return self._catalogue.owner(house, wanted.name, is_template=is_template, client=client), wanted.name

    def _set_level(
        self, wanted: Wanted, message: ClientRequest, visit: Visit, caller: Caller
    ) -> Withdrawable:
        """Every plugin of the endpoint that writes log messages hears of it."""
        standings = self._house().standings
        named = sorted(standings) if visit.endpoint is None else [visit.endpoint]
        plugins = [name for name in named if _logs(standings[name].definitions)]
        if not plugins:
            raise RemoteProtocolError("method_unknown", "no plugin of this endpoint writes log messages")
        gathering = Gathering(len(plugins), partial(_give_nothing, visit))
        for plugin in plugins:
            call = Call.of(self._new_id(), plugin, message.method, wanted.params, target=wanted.name)
            arrived = Arrived(call, visit.principal, visit.now, caller=caller)
            gathering.add(self._road.travel(arrived, gathering.settled, visit))
        return gathering

    def _caller(
        self, message: ClientRequest, visit: Visit, session: Session | None, shape: Envelope
    ) -> Caller:
        if session is not None:
            visit.key = (visit.known_client, session.ident, message.id)
            return session.caller if visit.takes_streams else session.deaf
        client = visit.known_client
        if shape.says_more:
            return modern_caller(client, shape, _meta_of(message))
        found = self._plain.get(client)
        if found is None:
            if len(self._plain) >= MAX_CALLERS:
                self._plain.clear()
            found = self._plain[client] = modern_caller(client, shape, {})
        return found


def _give_nothing(visit: Visit, refusal: Refusal | None) -> None:
    if refusal is None:
        visit.give(b"{}")
    else:
        visit.refuse(refusal.error)


def _meta_of(message: ClientRequest) -> JsonObject:
    meta = message.params.get("_meta", _NOTHING)
    return meta if isinstance(meta, dict) else _NOTHING


def _check_headers(plan: HeaderPlan | None, arguments: JsonObject, request: HttpRequest) -> None:
    """Arguments that the approved definition wants repeated in headers must be, and say the same."""
    name = None if plan is None else plan.mismatch(arguments, request.headers)
    if name is not None:
        raise RemoteProtocolError("header_mismatch", f"the {name} header does not say what the body says")


def _logs(definitions: Definitions | None) -> bool:
    return definitions is not None and definitions.announced.logging


def _tool_of(name: str, endpoint: PluginName | None) -> tuple[PluginName, str]:
    if endpoint is not None:
        return endpoint, name
    found = split(name)
    if found is None:
        raise Refused("tool_unknown", "tools at this endpoint are called <plugin>__<tool>")
    return found
