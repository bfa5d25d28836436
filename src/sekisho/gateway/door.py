"""The door: from an HTTP request to a judged call, and from an outcome back to an HTTP response.

Guarantees that every request gets exactly one answer, that every refusal carries a stable code in
`error.data.code`, the right HTTP status, a record and a metric, and that nothing is read beyond the head before the
caller is known. What was found out about a head is kept with it (`HeadMemo`) for as long as the rules it was judged by
hold; tokens and sessions are looked up for every request. Knows MCP methods and both eras; knows no socket (see
`front`) and decides no call (see `checkpoint`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from sekisho.errors import LocalProtocolError, RateLimited, Refused, RemoteProtocolError, SekishoError
from sekisho.gateway import answers
from sekisho.gateway.catalogue import Catalogue
from sekisho.gateway.checkpoint import House
from sekisho.gateway.guard import check_origin
from sekisho.gateway.road import Clock, Outcome, Road, Trip
from sekisho.gateway.sessions import Session, Sessions
from sekisho.gateway.stages import Arrived, Call, Refusal
from sekisho.protocol import (
    ClientNotification,
    ClientRequest,
    ClientResponse,
    HeadMemo,
    HttpRequest,
    JsonLimits,
    JsonObject,
    PluginName,
    envelope,
    error_bytes,
    negotiate,
    parse_client_message,
    parse_tool_call,
    plugin_name,
    response_bytes,
    result_bytes,
    split,
)

__all__ = ["Door", "DoorRules", "Elsewhere", "Respond"]

Respond = Callable[[bytes], None]
# Client, session and request id of a call that another worker may be carrying.
Elsewhere = Callable[[str, str, int | str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """What the door checks before it knows who asks."""

    hosts: frozenset[str]
    origins: frozenset[str]
    message_limits: JsonLimits


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is known of a head: it was let in by these rules, to this endpoint, with a body of the right kind."""

    rules: DoorRules
    endpoint: PluginName | None


class _Visit(msgspec.Struct):
    """One request being answered; filled in as it is understood, so that a refusal says all that is known."""

    call_id: str
    now: float
    respond: Respond
    authorization: str | None
    keep_alive: bool
    client: str | None = None
    endpoint: PluginName | None = None
    request_id: int | str | None = None
    modern: bool = False
    key: tuple[str, str, int | str] | None = None

    @property
    def known_client(self) -> str:
        """Who asks; there is nobody before the token was checked."""
        if self.client is None:
            raise LocalProtocolError("internal", "nobody was identified yet")
        return self.client


class Door:
    """Answers requests."""

    def __init__(
        self,
        *,
        rules: Callable[[], DoorRules],
        house: Callable[[], House],
        road: Road,
        sessions: Sessions,
        clock: Clock,
        new_id: Callable[[], str],
        withdraw_elsewhere: Elsewhere | None = None,
    ) -> None:
        self.heads = HeadMemo()
        self._rules = rules
        self._house = house
        self._road = road
        self._sessions = sessions
        self._clock = clock
        self._new_id = new_id
        self._elsewhere = withdraw_elsewhere
        self._catalogue = Catalogue()
        self._trips: dict[tuple[str, str, int | str], Trip] = {}

    def answer(self, request: HttpRequest, respond: Respond) -> Trip | None:
        """Answer one request; the trip of a call still under way is returned so that a lost client can end it."""
        visit = _Visit(
            self._new_id(),
            self._clock.now(),
            respond,
            request.headers.get("authorization"),
            # a client does not read the body of an answer to HEAD, so ours would be taken for the next answer
            request.keep_alive and request.method != "HEAD",
        )
        try:
            return self._enter(request, visit)
        except SekishoError as error:
            self._refuse(visit, error)
            return None

    def refuse_unreadable(self, error: SekishoError, respond: Respond) -> None:
        """Answer bytes that never became a request; the connection ends with it."""
        self._refuse(_Visit(self._new_id(), self._clock.now(), respond, None, keep_alive=False), error)

    def _enter(self, request: HttpRequest, visit: _Visit) -> Trip | None:
        rules = self._rules()
        house = self._house()
        known = request.note
        if isinstance(known, _Pass) and known.rules is rules:
            visit.client = house.tokens.identify(visit.authorization)
            visit.endpoint = known.endpoint
            if known.endpoint is not None and known.endpoint not in house.standings:
                raise _no_plugin(known.endpoint)
            return self._read(request, visit, house, rules)
        check_origin(request.headers, rules.hosts, rules.origins)
        endpoint = _endpoint(request.target)
        visit.client = client = house.tokens.identify(visit.authorization)
        if endpoint is not None and endpoint not in house.standings:
            raise _no_plugin(endpoint)
        visit.endpoint = endpoint
        if request.method == "DELETE":
            self._sessions.close(request.headers.get("mcp-session-id"), client, endpoint, visit.now)
            visit.respond(response_bytes(204, b"", close=not visit.keep_alive))
            return None
        if request.method != "POST":
            raise RemoteProtocolError("http_method_not_allowed", f"{request.method} is not served here")
        _check_media(request)
        self.heads.keep(request, _Pass(rules, endpoint))
        return self._read(request, visit, house, rules)

    def _read(self, request: HttpRequest, visit: _Visit, house: House, rules: DoorRules) -> Trip | None:
        message = parse_client_message(request.body, rules.message_limits)
        if isinstance(message, ClientResponse):
            self._accept(visit)
            return None
        if isinstance(message, ClientRequest):
            visit.request_id = message.id
        shape = envelope(request.headers, message)
        visit.modern = shape.modern
        session: Session | None = None
        if not shape.modern and message.method != "initialize":
            ident = request.headers.get("mcp-session-id")
            session = self._sessions.find(ident, visit.known_client, visit.endpoint, visit.now)
        if isinstance(message, ClientNotification):
            self._notice(message, visit, session)
            self._accept(visit)
            return None
        return self._dispatch(message, visit, session, house)

    def _dispatch(
        self, message: ClientRequest, visit: _Visit, session: Session | None, house: House
    ) -> Trip | None:
        match message.method:
            case "tools/call":
                return self._call(message, visit, session)
            case "tools/list":
                _refuse_cursor(message.params)
                tools = self._catalogue.tools(house, visit.known_client, visit.endpoint)
                self._result(visit, answers.list_result(tools, modern=visit.modern))
            case "server/discover" if visit.modern:
                self._result(visit, answers.discover_result())
            case "initialize" if not visit.modern:
                self._initialize(message, visit)
            case "ping" if not visit.modern:
                self._result(visit, b"{}")
            case _:
                raise RemoteProtocolError("method_unknown", "this method is not served")
        return None

    def _initialize(self, message: ClientRequest, visit: _Visit) -> None:
        wish = message.params.get("protocolVersion")
        if not isinstance(wish, str):
            raise RemoteProtocolError("params_invalid", "initialize needs protocolVersion")
        version = negotiate(wish)
        ticket = self._sessions.open(visit.known_client, visit.endpoint, version, visit.now)
        body = result_bytes(message.id, answers.initialize_result(version))
        visit.respond(
            response_bytes(200, body, headers=(("Mcp-Session-Id", ticket),), close=not visit.keep_alive)
        )

    def _call(self, message: ClientRequest, visit: _Visit, session: Session | None) -> Trip:
        wanted = parse_tool_call(message.params)
        plugin, tool = _target(wanted.name, visit.endpoint)
        call = Call.of(visit.call_id, plugin, tool, wanted.arguments)
        arrived = Arrived(call, visit.authorization, visit.now)
        reply = partial(self._reply, visit)
        if session is None:
            return self._road.travel(arrived, reply)
        # a client that names its session may withdraw the call by the id of its request
        visit.key = key = (visit.known_client, session.ident, message.id)
        if key in self._trips:
            visit.key = None
            raise RemoteProtocolError("message_invalid", "a request with this id is still in flight")
        trip = self._trips[key] = self._road.travel(
            arrived, reply
        )  # it replies later, never before it returns
        return trip

    def _reply(self, visit: _Visit, outcome: Outcome) -> None:
        if visit.key is not None:
            self._trips.pop(visit.key, None)
        if isinstance(outcome, Refusal):
            self._say(visit, outcome.error)
        elif visit.keep_alive and visit.request_id is not None:
            visit.respond(answers.call_response(visit.request_id, outcome.result, modern=visit.modern))
        else:
            self._result(visit, answers.call_result(outcome.result, modern=visit.modern))

    def _notice(self, message: ClientNotification, visit: _Visit, session: Session | None) -> None:
        if message.method != "notifications/cancelled" or session is None:
            return
        target = message.params.get("requestId")
        if isinstance(target, bool) or not isinstance(target, int | str):
            raise RemoteProtocolError("params_invalid", "cancelled needs requestId")
        if not self.withdraw(visit.known_client, session.ident, target) and self._elsewhere is not None:
            self._elsewhere(visit.known_client, session.ident, target)

    def withdraw(self, client: str, session: str, request: int | str) -> bool:
        """End a call that its caller withdrew; False when it is not under way here."""
        trip = self._trips.get((client, session, request))
        if trip is not None:
            trip.withdraw(Refused("cancelled", "the caller withdrew the request"))
        return trip is not None

    def _accept(self, visit: _Visit) -> None:
        visit.respond(response_bytes(202, b"", close=not visit.keep_alive))

    def _result(self, visit: _Visit, result: bytes) -> None:
        if visit.request_id is None:
            raise LocalProtocolError("internal", "a result needs the id of its request")
        visit.respond(response_bytes(200, result_bytes(visit.request_id, result), close=not visit.keep_alive))

    def _refuse(self, visit: _Visit, error: SekishoError) -> None:
        refusal = Refusal(visit.client, error, visit.call_id, visit.endpoint or "")
        self._road.record_refusal(refusal, visit.now, lambda given: self._say(visit, given.error))

    def _say(self, visit: _Visit, error: SekishoError) -> None:
        status = error.info.http_status
        if (
            not visit.modern
            and visit.request_id is not None
            and error.code in ("method_unknown", "plugin_unknown")
        ):
            status = 200  # to a legacy client 404 means that its session is gone
        headers: list[tuple[str, str]] = []
        if status == 401:
            headers.append(("WWW-Authenticate", 'Bearer realm="sekisho"'))
        if status == 405:
            headers.append(("Allow", "POST, DELETE"))
        if isinstance(error, RateLimited):
            headers.append(("Retry-After", str(max(1, round(error.retry_after_s + 0.5)))))
        body = error_bytes(visit.request_id, error, call_id=visit.call_id)
        visit.respond(response_bytes(status, body, headers=headers, close=not visit.keep_alive))


def _refuse_cursor(params: JsonObject) -> None:
    """Our lists have one page, so any cursor is not ours."""
    cursor = params.get("cursor")
    if cursor is not None:
        raise RemoteProtocolError("params_invalid", "this cursor was not given by this gateway")


def _endpoint(target: str) -> PluginName | None:
    """`/mcp` is everything, `/p/<plugin>/mcp` is one plugin; anything else is not here."""
    if target == "/mcp":
        return None
    parts = target.split("/")
    if len(parts) == 4 and parts[0] == "" and parts[1] == "p" and parts[3] == "mcp":
        try:
            return plugin_name(parts[2])
        except SekishoError:
            pass
    raise Refused("http_not_found", "nothing is served at this path")


def _no_plugin(name: PluginName) -> Refused:
    return Refused("plugin_unknown", f"there is no plugin {name!r}")


def _target(name: str, endpoint: PluginName | None) -> tuple[PluginName, str]:
    if endpoint is not None:
        return endpoint, name
    found = split(name)
    if found is None:
        raise Refused("tool_unknown", "tools at this endpoint are called <plugin>__<tool>")
    return found


def _check_media(request: HttpRequest) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RemoteProtocolError("http_media_type", "the body must be application/json")
    accept = request.headers.get("accept", "*/*").lower()
    if "application/json" not in accept and "*/*" not in accept and "application/*" not in accept:
        raise RemoteProtocolError("http_not_acceptable", "the answer is application/json")
