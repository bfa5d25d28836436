"""The door: from an HTTP request to a judged call, and from an outcome back to an HTTP response.

Guarantees that every request gets exactly one answer, that every refusal carries a stable code in
`error.data.code`, the right HTTP status, a record and a metric, and that nothing is read beyond the head before the
caller is known. Knows MCP methods and both eras; knows no socket (see `front`) and decides no call (see `checkpoint`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

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
    Envelope,
    HttpRequest,
    JsonLimits,
    Notification,
    PluginName,
    Request,
    Response,
    envelope,
    error_bytes,
    negotiate,
    parse_message,
    parse_tool_call,
    plugin_name,
    reemit,
    response_bytes,
    result_bytes,
    split,
)

__all__ = ["Door", "DoorRules", "Respond"]

Respond = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """What the door checks before it knows who asks."""

    hosts: frozenset[str]
    origins: frozenset[str]
    message_limits: JsonLimits


@dataclass(slots=True, kw_only=True)
class _Visit:
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
    ) -> None:
        self._rules = rules
        self._house = house
        self._road = road
        self._sessions = sessions
        self._clock = clock
        self._new_id = new_id
        self._catalogue = Catalogue()
        self._trips: dict[tuple[str, str, int | str], Trip] = {}

    def answer(self, request: HttpRequest, respond: Respond) -> Trip | None:
        """Answer one request; the trip of a call still under way is returned so that a lost client can end it."""
        visit = _Visit(
            call_id=self._new_id(),
            now=self._clock.now(),
            respond=respond,
            authorization=request.headers.get("authorization"),
            # a client does not read the body of an answer to HEAD, so ours would be taken for the next answer
            keep_alive=request.keep_alive and request.method != "HEAD",
        )
        try:
            return self._enter(request, visit)
        except SekishoError as error:
            self._refuse(visit, error)
            return None

    def refuse_unreadable(self, error: SekishoError, respond: Respond) -> None:
        """Answer bytes that never became a request; the connection ends with it."""
        visit = _Visit(
            call_id=self._new_id(),
            now=self._clock.now(),
            respond=respond,
            authorization=None,
            keep_alive=False,
        )
        self._refuse(visit, error)

    def _enter(self, request: HttpRequest, visit: _Visit) -> Trip | None:
        rules = self._rules()
        house = self._house()
        check_origin(request.headers, rules.hosts, rules.origins)
        endpoint = _endpoint(request.target)
        visit.client = client = house.tokens.identify(visit.authorization)
        if endpoint is not None and endpoint not in house.standings:
            raise Refused("plugin_unknown", f"there is no plugin {endpoint!r}")
        visit.endpoint = endpoint
        if request.method == "DELETE":
            self._sessions.close(request.headers.get("mcp-session-id"), client, endpoint, visit.now)
            visit.respond(response_bytes(204, b"", close=not visit.keep_alive))
            return None
        if request.method != "POST":
            raise RemoteProtocolError("http_method_not_allowed", f"{request.method} is not served here")
        _check_media(request)
        return self._read(request, visit, house)

    def _read(self, request: HttpRequest, visit: _Visit, house: House) -> Trip | None:
        message = parse_message(request.body, self._rules().message_limits)
        if isinstance(message, Response):
            self._accept(visit)
            return None
        if isinstance(message, Request):
            visit.request_id = message.id
        shape = envelope(request.headers, message)
        visit.modern = shape.modern
        session = self._session(request, message, shape, visit)
        if isinstance(message, Notification):
            self._notice(message, visit, session)
            self._accept(visit)
            return None
        return self._dispatch(message, visit, session, house)

    def _session(
        self, request: HttpRequest, message: Request | Notification, shape: Envelope, visit: _Visit
    ) -> Session | None:
        if shape.modern or message.method == "initialize":
            return None
        return self._sessions.find(
            request.headers.get("mcp-session-id"), visit.known_client, visit.endpoint, visit.now
        )

    def _dispatch(
        self, message: Request, visit: _Visit, session: Session | None, house: House
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

    def _initialize(self, message: Request, visit: _Visit) -> None:
        try:
            wish = msgspec.json.decode(message.params, type=_Initialize)
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError("params_invalid", "initialize needs protocolVersion") from error
        version = negotiate(wish.protocolVersion)
        ticket = self._sessions.open(visit.known_client, visit.endpoint, version, visit.now)
        body = result_bytes(message.id, answers.initialize_result(version))
        visit.respond(
            response_bytes(200, body, headers=(("Mcp-Session-Id", ticket),), close=not visit.keep_alive)
        )

    def _call(self, message: Request, visit: _Visit, session: Session | None) -> Trip:
        wanted = parse_tool_call(message.params)
        plugin, tool = _target(wanted.name, visit.endpoint)
        arguments = reemit(wanted.arguments)
        call = Call(
            call_id=visit.call_id,
            plugin=plugin,
            tool=tool,
            arguments=arguments,
            digest=_digest(visit.call_id, plugin, tool, arguments),
        )
        arrived = Arrived(call=call, authorization=visit.authorization, now=visit.now)
        key = (visit.known_client, session.ident if session else visit.call_id, message.id)
        if key in self._trips:
            raise RemoteProtocolError("message_invalid", "a request with this id is still in flight")

        def reply(outcome: Outcome) -> None:
            self._trips.pop(key, None)
            if isinstance(outcome, Refusal):
                self._say(visit, outcome.error)
            else:
                self._result(visit, answers.call_result(outcome.result, modern=visit.modern))

        # The trip is registered before it starts, because a refusal may be answered before `travel` returns.
        placeholder = Trip()
        self._trips[key] = placeholder
        trip = self._road.travel(arrived, reply)
        if self._trips.get(key) is placeholder:
            self._trips[key] = trip
        return trip

    def _notice(self, message: Notification, visit: _Visit, session: Session | None) -> None:
        if message.method != "notifications/cancelled" or session is None:
            return
        try:
            target = msgspec.json.decode(message.params, type=_Cancelled).requestId
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError("params_invalid", "cancelled needs requestId") from error
        trip = self._trips.get((visit.known_client, session.ident, target))
        if trip is not None:
            trip.withdraw(Refused("cancelled", "the caller withdrew the request"))

    def _accept(self, visit: _Visit) -> None:
        visit.respond(response_bytes(202, b"", close=not visit.keep_alive))

    def _result(self, visit: _Visit, result: bytes) -> None:
        if visit.request_id is None:
            raise LocalProtocolError("internal", "a result needs the id of its request")
        visit.respond(response_bytes(200, result_bytes(visit.request_id, result), close=not visit.keep_alive))

    def _refuse(self, visit: _Visit, error: SekishoError) -> None:
        call = Call(
            call_id=visit.call_id, plugin=visit.endpoint or PluginName(""), tool="", arguments=b"", digest=""
        )
        refusal = Refusal(call=call, client=visit.client, error=error)
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


class _Initialize(msgspec.Struct):
    protocolVersion: str  # noqa: N815  # MCP's spelling


class _Cancelled(msgspec.Struct):
    requestId: int | str  # noqa: N815  # MCP's spelling


class _Page(msgspec.Struct):
    cursor: str | None = None


def _refuse_cursor(params: msgspec.Raw) -> None:
    """Our lists have one page, so any cursor is not ours."""
    if not bytes(params):
        return
    try:
        cursor = msgspec.json.decode(params, type=_Page).cursor
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError("params_invalid", "tools/list takes a cursor or nothing") from error
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


def _digest(call_id: str, plugin: str, tool: str, arguments: bytes) -> str:
    """Bind what was judged to what is sent: every part is length-prefixed, so that no two calls share bytes."""
    state = hashlib.sha256(b"sekisho/call/1")
    for part in (call_id.encode(), plugin.encode(), tool.encode(), arguments):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()
