"""What a request's head must show before anything else of it is looked at: the right door, and who stands there.

Guarantees that a credential is looked at once for each request (a proof of possession counts only once), that a client
has no more connections than it may, and that what is published for everybody is shown without a token, to any web page,
and only under our own name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.gateway.checkpoint import House
from sekisho.gateway.guard import check_host, check_origin
from sekisho.gateway.visit import Visit
from sekisho.keys import Pending, Principal, RequestFacts, refuse_query_token
from sekisho.protocol import HttpRequest, JsonLimits, PluginName, plugin_name

__all__ = ["DoorRules", "Pass", "admit", "check_form", "document_of", "identify", "look"]

_METHODS: Final = ("POST", "DELETE", "GET")
_OLD: Final = re.compile(r"(?:/p/(?P<plugin>[^/?]{1,64}))?/sse(?:/(?P<stream>[A-Za-z0-9_-]{32}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """What the door checks before it knows who asks."""

    hosts: frozenset[str]
    origins: frozenset[str]
    message_limits: JsonLimits
    max_streams_per_client: int = 64
    max_batch_messages: int = 32
    serves_old_sse: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """What is known of a head: it was let in by these rules, to this endpoint, with a body of the right kind."""

    rules: DoorRules
    endpoint: PluginName | None
    takes_streams: bool
    old: str | None = None
    """At the oldest transport: the stream that is posted to, "" where one is opened."""


def document_of(request: HttpRequest, house: House, rules: DoorRules) -> tuple[bytes | None] | None:
    """What is asked, if it is a document for everybody: (None,) when a browser asks whether it may."""
    if house.resource is None or request.method not in ("GET", "OPTIONS"):
        return None
    document = house.resource.metadata(request.target)
    if document is None:
        return None
    check_host(request.headers, rules.hosts)
    return (document if request.method == "GET" else None,)


def look(request: HttpRequest, rules: DoorRules) -> Pass:
    """Everything that can be refused before anybody asks who is there."""
    check_origin(request.headers, rules.hosts, rules.origins)
    refuse_query_token(request.target)
    takes_streams = request.speaks_chunks and _takes(request, "text/event-stream")
    if rules.serves_old_sse:
        found = _OLD.fullmatch(request.target)
        if found is not None:
            endpoint = None if found["plugin"] is None else _plugin(found["plugin"])
            return Pass(rules, endpoint, takes_streams, found["stream"] or "")
    return Pass(rules, _endpoint(request.target), takes_streams)


def identify(request: HttpRequest, visit: Visit, house: House) -> Principal | Pending:
    """Who sent this; raises `Refused` or `Unavailable`. To be asked once for each request."""
    headers = request.headers
    authorization = headers.get("authorization")
    found = house.credentials.recall(authorization, request.target, visit.now)
    if found is not None:
        return found
    facts = RequestFacts(
        authorization, request.method, request.target, headers.get("dpop"), visit.guest.certificate
    )
    return house.credentials.identify(facts, visit.now)


def admit(visit: Visit, house: House, principal: Principal, known: Pass, request: HttpRequest) -> None:
    """Take note of who is there. The connection is told last: whoever is refused stays one of the strangers to it."""
    visit.principal = principal
    visit.client = client = principal.client
    endpoint = known.endpoint
    if endpoint is not None and endpoint not in house.standings:
        raise Refused("plugin_unknown", f"there is no plugin {endpoint!r}")
    visit.endpoint = endpoint
    if request.note is not known:
        check_form(request)
    if visit.guest.client != client and not visit.guest.admit(client):
        visit.keep_alive = False
        raise Unavailable("busy", "this client has as many connections as it may have")


def check_form(request: HttpRequest) -> None:
    """The method and the kind of body, which only a known client is told about."""
    if request.method not in _METHODS:
        raise RemoteProtocolError("http_method_not_allowed", f"{request.method} is not served here")
    if request.method != "POST":
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RemoteProtocolError("http_media_type", "the body must be application/json")
    if not _takes(request, "application/json"):
        raise RemoteProtocolError("http_not_acceptable", "the answer is application/json")


def _endpoint(target: str) -> PluginName | None:
    """`/mcp` is everything, `/p/<plugin>/mcp` is one plugin; anything else is not here."""
    if target == "/mcp":
        return None
    parts = target.split("/")
    if len(parts) == 4 and parts[0] == "" and parts[1] == "p" and parts[3] == "mcp":
        return _plugin(parts[2])
    raise _nothing_here()


def _plugin(name: str) -> PluginName:
    try:
        return plugin_name(name)
    except SekishoError:
        raise _nothing_here() from None


def _nothing_here() -> Refused:
    return Refused("http_not_found", "nothing is served at this path")


def _takes(request: HttpRequest, kind: str) -> bool:
    """True when the client reads this media type."""
    accept = request.headers.get("accept")
    if accept is None:
        return kind == "application/json"
    accept = accept.lower()
    return kind in accept or "*/*" in accept or f"{kind.partition('/')[0]}/*" in accept
