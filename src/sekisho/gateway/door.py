"""The door: from an HTTP request to a judged call, and from an outcome back to an HTTP response.

Guarantees that every request gets exactly one answer, that every refusal carries a stable code in
`error.data.code`, the right HTTP status, a record and a metric, and that nothing is read beyond the head before the
caller is known. What was found out about a head is kept with it (`HeadMemo`) for as long as the rules it was judged by
hold; tokens and sessions are looked up for every request. Knows MCP methods and both eras; knows no socket (see
`front`) and decides no call (see `checkpoint`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sekisho.errors import RateLimited, Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.gateway import answers
from sekisho.gateway.catalogue import Catalogue
from sekisho.gateway.checkpoint import House
from sekisho.gateway.guard import check_origin
from sekisho.gateway.road import Clock, Outcome, Road, Trip
from sekisho.gateway.sessions import Session, Sessions
from sekisho.gateway.stages import Arrived, Call, Refusal
from sekisho.gateway.visit import Guest, Visit
from sekisho.protocol import (
    ClientNotification,
    ClientRequest,
    ClientResponse,
    HeadMemo,
    HttpRequest,
    JsonLimits,
    JsonObject,
    JsonValue,
    PluginName,
    envelope,
    negotiate,
    parse_client_message,
    parse_tool_call,
    plugin_name,
    split,
)

__all__ = ["Door", "DoorRules", "Elsewhere"]

# Client, session and request id of a call that another worker may be carrying.
Elsewhere = Callable[[str, str, int | str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """What the door checks before it knows who asks."""

    hosts: frozenset[str]
    origins: frozenset[str]
    message_limits: JsonLimits
    max_streams_per_client: int = 64


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is known of a head: it was let in by these rules, to this endpoint, with a body of the right kind."""

    rules: DoorRules
    endpoint: PluginName | None
    takes_streams: bool


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
        self._streams: Counter[str] = Counter()

    def answer(self, request: HttpRequest, guest: Guest) -> Trip | None:
        """Answer one request; the trip of a call still under way is returned so that a lost client can end it."""
        visit = self._visit(request, guest)
        try:
            return self._enter(request, visit)
        except SekishoError as error:
            self._refuse(visit, error)
            return None

    def lets_in(self, request: HttpRequest, guest: Guest) -> bool:
        """True when the body of this request may come: strangers must not make us hold one. Else it is refused."""
        visit = self._visit(request, guest)
        try:
            self._judge_head(request, visit, self._house(), self._rules())
        except SekishoError as error:
            visit.keep_alive = False  # what follows is a body that nobody reads
            self._refuse(visit, error)
            return False
        return True

    def _visit(self, request: HttpRequest, guest: Guest) -> Visit:
        return Visit(
            self._new_id(),
            self._clock.now(),
            guest,
            request.headers.get("authorization"),
            # a client does not read the body of an answer to HEAD, so ours would be taken for the next answer
            request.keep_alive and request.method != "HEAD",
        )

    def refuse_unreadable(self, error: SekishoError, guest: Guest) -> None:
        """Answer bytes that never became a request; the connection ends with it."""
        self._refuse(Visit(self._new_id(), self._clock.now(), guest, None, keep_alive=False), error)

    def _enter(self, request: HttpRequest, visit: Visit) -> Trip | None:
        rules = self._rules()
        house = self._house()
        known = request.note
        if isinstance(known, _Pass) and known.rules is rules:
            self._identify(visit, house, known.endpoint)
            return self._read(request, visit, house, known)
        known = self._judge_head(request, visit, house, rules)
        if request.method == "DELETE":
            ident = request.headers.get("mcp-session-id")
            self._sessions.close(ident, visit.known_client, visit.endpoint, visit.now)
            visit.end_session()
            return None
        return self._read(request, visit, house, known)

    def _judge_head(self, request: HttpRequest, visit: Visit, house: House, rules: DoorRules) -> _Pass:
        """Everything that can be refused before the body is there."""
        check_origin(request.headers, rules.hosts, rules.origins)
        endpoint = _endpoint(request.target)
        self._identify(visit, house, endpoint)
        if request.method not in ("POST", "DELETE"):
            raise RemoteProtocolError("http_method_not_allowed", f"{request.method} is not served here")
        if request.method == "POST":
            _check_media(request)
        return _Pass(rules, endpoint, request.speaks_chunks and _takes(request, "text/event-stream"))

    def _identify(self, visit: Visit, house: House, endpoint: PluginName | None) -> None:
        visit.client = client = house.tokens.identify(visit.authorization)
        if visit.guest.client != client and not visit.guest.admit(client):
            visit.keep_alive = False
            raise Unavailable("busy", "this client has as many connections as it may have")
        if endpoint is not None and endpoint not in house.standings:
            raise Refused("plugin_unknown", f"there is no plugin {endpoint!r}")
        visit.endpoint = endpoint

    def _read(self, request: HttpRequest, visit: Visit, house: House, known: _Pass) -> Trip | None:
        message = parse_client_message(request.body, known.rules.message_limits)
        if isinstance(message, ClientResponse):
            visit.accept()
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
            visit.accept()
            return None
        if message.method == "tools/call":
            if (
                request.note is not known
            ):  # calls come again; the head of a handshake would only take up memory
                self.heads.keep(request, known)
            return self._call(message, visit, session, known)
        self._say(message, visit, house)
        return None

    def _say(self, message: ClientRequest, visit: Visit, house: House) -> None:
        """Answer what no plugin has to be asked about."""
        match message.method:
            case "tools/list":
                _refuse_cursor(message.params)
                client, endpoint = visit.known_client, visit.endpoint
                visit.give(self._catalogue.listing(house, client, endpoint, modern=visit.modern))
            case "server/discover" if visit.modern:
                visit.give(answers.discover_result())
            case "initialize" if not visit.modern:
                self._initialize(message, visit, house)
            case "ping" if not visit.modern:
                visit.give(b"{}")
            case _:
                raise RemoteProtocolError("method_unknown", "this method is not served")

    def _initialize(self, message: ClientRequest, visit: Visit, house: House) -> None:
        wish = message.params.get("protocolVersion")
        if not isinstance(wish, str):
            raise RemoteProtocolError("params_invalid", "initialize needs protocolVersion")
        charge = (("sessions", visit.known_client), house.session_rate)
        wait_s = house.limiter.admit_all((charge,), visit.now)
        if wait_s > 0:
            raise RateLimited(wait_s)
        version = negotiate(wish)
        ticket = self._sessions.open(visit.known_client, visit.endpoint, version, visit.now)
        visit.open_session(ticket, answers.initialize_result(version))

    def _call(self, message: ClientRequest, visit: Visit, session: Session | None, known: _Pass) -> Trip:
        wanted = parse_tool_call(message.params)
        plugin, tool = _target(wanted.name, visit.endpoint)
        call = Call.of(visit.call_id, plugin, tool, wanted.arguments)
        key: tuple[str, str, int | str] | None = None
        if (
            session is not None
        ):  # a client that names its session may withdraw the call by the id of its request
            key = (visit.known_client, session.ident, message.id)
            if key in self._trips:
                raise RemoteProtocolError("message_invalid", "a request with this id is still in flight")
        token = wanted.meta.get("progressToken")
        if token is not None and known.takes_streams and visit.keep_alive:
            self._open_stream(visit, token, known.rules.max_streams_per_client)
        arrived = Arrived(call, visit.authorization, visit.now, visit.progress_token is not None)
        trip = self._road.travel(arrived, partial(self._reply, visit), visit.note)
        if key is not None:  # it replies later, never before `travel` has returned
            visit.key = key
            self._trips[key] = trip
        return trip

    def _open_stream(self, visit: Visit, token: JsonValue, most: int) -> None:
        if isinstance(token, bool) or not isinstance(token, int | str):
            raise RemoteProtocolError("params_invalid", "a progress token is a string or an integer")
        client = visit.known_client
        if self._streams[client] >= most:
            return  # the answer comes without news before it
        self._streams[client] += 1
        visit.progress_token = token

    def _reply(self, visit: Visit, outcome: Outcome) -> None:
        if visit.key is not None:
            self._trips.pop(visit.key, None)
        if visit.progress_token is not None:
            client = visit.known_client
            self._streams[client] -= 1
            if not self._streams[client]:
                del self._streams[client]
        if isinstance(outcome, Refusal):
            visit.refuse(outcome.error)
        else:
            visit.give_call(outcome.result)

    def _notice(self, message: ClientNotification, visit: Visit, session: Session | None) -> None:
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

    def _refuse(self, visit: Visit, error: SekishoError) -> None:
        refusal = Refusal(visit.client, error, visit.call_id, visit.endpoint or "")
        self._road.record_refusal(refusal, visit.now, lambda given: visit.refuse(given.error))


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
    if not _takes(request, "application/json"):
        raise RemoteProtocolError("http_not_acceptable", "the answer is application/json")


def _takes(request: HttpRequest, kind: str) -> bool:
    """True when the client reads this media type."""
    accept = request.headers.get("accept")
    if accept is None:
        return kind == "application/json"
    accept = accept.lower()
    return kind in accept or "*/*" in accept or f"{kind.partition('/')[0]}/*" in accept
