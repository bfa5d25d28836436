"""Long streams of notifications: `subscriptions/listen` of modern clients and the GET stream of legacy ones.

Guarantees that a client hears of changed lists from the gateway itself, when what *it* may see has changed after review,
never because a plugin said so; that news of a resource come from the one plugin it belongs to and only to whom may read
it; that a stream ends with its client, and its calls at the plugins with it; that a plugin which was gone is listened to
again.

What has to be remembered of a legacy client (its subscriptions, its log level) is kept at the plugin's side under the
scope of its session, so any process can serve its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.gateway.caller import TASKS, Caller
from sekisho.gateway.catalogue import Catalogue
from sekisho.gateway.checkpoint import House
from sekisho.gateway.remarks import Question
from sekisho.gateway.road import Outcome, Road, Trip
from sekisho.gateway.stages import Arrived, Call
from sekisho.gateway.tasks import Task, capability_missing, open_tasks
from sekisho.gateway.visit import Visit
from sekisho.protocol import JsonObject, JsonValue, PluginName

__all__ = ["Listener", "Subscriptions"]

MAX_URIS: Final = 100  # of one stream; each is looked for in every template before anything is charged
MAX_URI_CHARS: Final = 2048
RENEW_S: Final = (
    10.0  # a plugin that is gone is not asked at once again, nor its absence recorded every second
)

# By the word that asks for it: the list, and the notification that it changed.
_CHANGES: Final = {
    "toolsListChanged": ("tools/list", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts/list", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources/list", "notifications/resources/list_changed"),
}
_TEMPLATES: Final = "resources/templates/list"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class Lists(Protocol):
    """What a client would be shown now."""

    def listing(
        self,
        house: House,
        client: str,
        plugin: PluginName | None,
        method: str,
        cursor: str | None,
        *,
        modern: bool,
    ) -> bytes:
        """The result of a list."""


class Listener:
    """One open stream; told by the calls under it, and by the house."""

    def __init__(self, visit: Visit, wanted: Iterable[str]) -> None:
        self.visit = visit
        self._wanted = tuple(wanted)
        self.calls: list[_Listening] = []
        self._shown: dict[str, bytes] = {}
        self.scope = ""  # of a legacy session, with which it ends
        self._on_end: Callable[[Listener], None] = lambda _listener: None

    def begin(self, on_end: Callable[[Listener], None]) -> None:
        """It is registered; `on_end` hears when it is over."""
        self._on_end = on_end

    def look(self, lists: Lists, house: House, *, first: bool = False) -> None:
        """Compare what this client may see with what it saw last, and tell it what changed."""
        visit = self.visit
        for word in self._wanted:
            method, notification = _CHANGES[word]
            now = lists.listing(house, visit.known_client, visit.endpoint, method, None, modern=visit.modern)
            if method == "resources/list":
                now += lists.listing(
                    house, visit.known_client, visit.endpoint, _TEMPLATES, None, modern=visit.modern
                )
            if first or self._shown.get(method) == now or self._tell(notification, b"{}"):
                self._shown[method] = now  # a client that lags behind is told at the next look

    def withdraw(self, reason: SekishoError) -> None:
        """The client is gone, or the house closes."""
        if self.visit.holds(reason):
            return
        calls, self.calls = self.calls, []
        for call in calls:
            if call.trip is not None:
                call.trip.withdraw(reason)
        self._on_end(self)
        self.visit.hang_up()

    # for the calls

    def note(self, progress: bytes) -> None:
        """A stream of notifications has no progress."""

    def note_last(self, progress: bytes) -> None:
        """Nor has its end."""

    def notice(self, method: str, params: bytes) -> None:
        """A notification that was judged and recorded."""
        if method == _ACKNOWLEDGED:
            return  # the plugin's side took the call; the client was told by us
        self._tell(method, params)

    def _tell(self, method: str, params: bytes) -> bool:
        if self.visit.modern:
            return self.visit.notice_of_subscription(method, msgspec.json.decode(params))
        return self.visit.tell(method, params)

    def question(self, plugin: PluginName, question: Question) -> bool:
        """Nothing is asked outside of calls."""
        del plugin, question
        return False


class _Listening:
    """What one plugin is asked to tell a stream: a call that is made again when it ends before the stream does."""

    __slots__ = ("again_at", "caller", "params", "plugin", "tasks", "trip")

    def __init__(
        self, plugin: PluginName, params: JsonObject, caller: Caller, tasks: Iterable[Task] = ()
    ) -> None:
        self.plugin = plugin
        self.params = params
        self.caller = caller
        self.tasks = tuple(tasks)
        self.trip: Trip | None = None
        self.again_at: float | None = None

    def ended(self, outcome: Outcome) -> None:
        """The stream goes on for others meanwhile, and for what the house says."""
        del outcome
        self.trip = None

    def is_due(self, now: float) -> bool:
        """True when it ended, some time ago."""
        if self.trip is not None:
            return False
        if self.again_at is None:
            self.again_at = now + RENEW_S
        return now >= self.again_at


class Subscriptions:
    """All open streams of this process."""

    def __init__(
        self,
        road: Road,
        house: Callable[[], House],
        lists: Catalogue,
        new_id: Callable[[], str],
        *,
        task_key: bytes,
    ) -> None:
        self._task_key = task_key
        self._road = road
        self._house = house
        self._lists = lists
        self._new_id = new_id
        self._open: set[Listener] = set()

    def look(self) -> None:
        """The house may have changed: tell every stream what its client sees now."""
        house = self._house()
        for listener in tuple(self._open):
            listener.look(self._lists, house)

    def expire(self, now: float) -> None:
        """End the streams of clients whose token has expired; listen again to plugins that were gone."""
        for listener in tuple(self._open):
            principal = listener.visit.principal
            if principal is None or principal.expires_at <= now:
                listener.withdraw(Refused("token_invalid", "the token has expired"))
            for call in listener.calls:
                if call.is_due(now):
                    self._call(listener, call, now)

    def end_session(self, scope: str) -> None:
        """End the streams of a session that its client ended."""
        for listener in tuple(self._open):
            if listener.scope == scope:
                listener.withdraw(Refused("session_unknown", "the session was ended"))

    def close(self) -> None:
        """End every stream."""
        for listener in tuple(self._open):
            listener.withdraw(Unavailable("cancelled", "the gateway is closing"))

    def listen(self, params: JsonObject, visit: Visit, caller: Caller) -> Listener:
        """Serve `subscriptions/listen` (MCP 2026-07-28)."""
        wanted, uris = _read_filter(params)
        house = self._house()
        granted: JsonObject = dict.fromkeys(wanted, True)
        owners = self._owners(house, visit, uris)
        if owners:
            granted["resourceSubscriptions"] = [uri for mine in owners.values() for uri in mine]
        tasks = self._tasks(house, visit, caller, params)
        if tasks:
            granted["taskIds"] = [task.handle for task in tasks]
        listener = self._start(visit, wanted, house)
        visit.notice_of_subscription(_ACKNOWLEDGED, {"notifications": granted})
        for plugin in dict.fromkeys([*owners, *(task.plugin for task in tasks)]):
            followed = [task for task in tasks if task.plugin == plugin]
            asked: JsonObject = {"resourceSubscriptions": [*owners.get(plugin, ())]}
            if followed:
                asked["taskIds"] = [task.ident for task in followed]
            self._begin(listener, _Listening(plugin, {"notifications": asked}, caller, followed))
        return listener

    def follow(self, visit: Visit, caller: Caller) -> Listener:
        """Serve the GET stream of a legacy session: list changes, and what its scope subscribed to."""
        house = self._house()
        listener = self._start(visit, _CHANGES, house)
        listener.scope = caller.scope
        standings = house.standings
        for plugin in sorted(standings) if visit.endpoint is None else [visit.endpoint]:
            definitions = standings[plugin].definitions
            if definitions is not None and (definitions.announced.subscribe or definitions.announced.logging):
                self._begin(listener, _Listening(plugin, {"scope": True}, caller))
        return listener

    def _start(self, visit: Visit, wanted: Iterable[str], house: House) -> Listener:
        if not visit.open_stream():
            raise Unavailable("busy", "this client has as many streams as it may have, or takes none")
        listener = Listener(visit, wanted)
        listener.look(self._lists, house, first=True)
        listener.begin(self._open.discard)
        if visit.copy is not None:
            visit.copy.owner = listener
        self._open.add(listener)
        return listener

    def _owners(self, house: House, visit: Visit, uris: list[str]) -> dict[PluginName, list[str]]:
        """Which plugin each URI belongs to; those nobody serves are left out of what is granted."""
        owners: dict[PluginName, list[str]] = {}
        for uri in uris:
            try:
                plugin = visit.endpoint or self._lists.owner(house, uri, client=visit.known_client)
            except Refused:
                continue
            definitions = house.standings[plugin].definitions
            if definitions is None or not house.access.permits_resource(visit.known_client, plugin, uri):
                continue
            if definitions.announced.subscribe and definitions.offers(uri):
                owners.setdefault(plugin, []).append(uri)
        return owners

    def _tasks(self, house: House, visit: Visit, caller: Caller, params: JsonObject) -> list[Task]:
        """The tasks it may hear of: its own, of tools it may still call."""
        asked = params.get("notifications", {})
        handles = asked.get("taskIds") if isinstance(asked, dict) else None
        if handles is None:
            return []
        if TASKS not in caller.declared:
            raise capability_missing("this client did not declare that it knows tasks")
        client, endpoint = visit.known_client, visit.endpoint or ""
        known = open_tasks(self._task_key, handles, client=client, endpoint=endpoint, now=visit.now)
        return [
            task
            for task in known
            if task.plugin in house.standings
            and TASKS in house.standings[task.plugin].client_requests
            and house.access.permits(client, task.plugin, task.tool)
        ]

    def _begin(self, listener: Listener, call: _Listening) -> None:
        listener.calls.append(call)
        self._call(listener, call, listener.visit.now)

    def _call(self, listener: Listener, call: _Listening, now: float) -> None:
        call.again_at = None
        asked = Call.of(
            self._new_id(), call.plugin, "subscriptions/listen", call.params, target="*", tasks=call.tasks
        )
        arrived = Arrived(asked, listener.visit.principal, now, caller=call.caller)
        call.trip = self._road.travel(arrived, call.ended, listener)


def _read_filter(params: JsonObject) -> tuple[list[str], list[str]]:
    asked = params.get("notifications", {})
    if not isinstance(asked, dict):
        raise _invalid("notifications is an object")
    uris: JsonValue = asked.get("resourceSubscriptions") or []
    if not isinstance(uris, list) or len(uris) > MAX_URIS:
        raise _invalid(f"resourceSubscriptions is a list of at most {MAX_URIS} URIs")
    read = [uri for uri in uris if isinstance(uri, str) and 0 < len(uri) <= MAX_URI_CHARS]
    if len(read) != len(uris):
        raise _invalid(f"a URI is a text of at most {MAX_URI_CHARS} characters")
    return [word for word in _CHANGES if asked.get(word) is True], list(dict.fromkeys(read))


def _invalid(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("params_invalid", what)
