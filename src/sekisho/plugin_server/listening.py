"""Who listens to a plugin outside of calls, and what each of them hears.

Guarantees that a listener hears of resources that it or its scope follows and of nothing else, and of nothing before it
was told what is honoured; that listeners are bounded; and that they outlive the plugin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

import msgspec

from sekisho.plugin_server.scopes import MAX_URIS_PER_SCOPE, Interest, Scopes, is_part_of
from sekisho.plugin_server.subscribing import Subscriptions
from sekisho.protocol import Notification
from sekisho.wire import CallContext, EventFrame, Inbound

__all__ = ["Listening", "event_params"]

MAX_LISTENERS: Final = 4_096
MAX_LISTENERS_PER_SCOPE: Final = 16
MAX_TASKS_PER_LISTENER: Final = 100
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
TASK_NEWS: Final = "notifications/tasks"
UPDATED: Final = "notifications/resources/updated"
_encode: Final = msgspec.json.Encoder().encode


class _Filter(msgspec.Struct, rename="camel"):
    resource_subscriptions: list[str] = []
    task_ids: list[str] = []


class _Wish(msgspec.Struct):
    """What a listen call wants: certain resources, or whatever its scope has set."""

    scope: bool = False
    notifications: _Filter = msgspec.field(default_factory=_Filter)


class _Listener(msgspec.Struct, gc=False):
    scope: str
    uris: frozenset[str] | None  # None: what its scope follows at the moment
    tasks: frozenset[str] = frozenset()
    is_acknowledged: bool = False  # MCP: nothing is said before that


class Listening:
    """Listeners, and what they and the scopes follow."""

    def __init__(self) -> None:
        self._interest = Interest()
        self._tasks = Interest()
        self.scopes = Scopes(self._interest)
        self.upstream = Subscriptions(self._interest, self.scopes, self._tasks)
        self._listeners: dict[Inbound, _Listener] = {}
        self._per_scope: Counter[str] = Counter()

    @property
    def is_followed(self) -> bool:
        """True while somebody listens for news of a resource or a task; a session that only left a wish does not."""
        return any(self._followed(listener) or listener.tasks for listener in self._listeners.values())

    @property
    def is_empty(self) -> bool:
        """True when nobody listens, and no scope has set anything."""
        return not self._listeners and not self.scopes

    def follows(self, uri: str) -> bool:
        """True if somebody follows it already."""
        return uri in self._interest

    def listen(self, inbound: Inbound, context: CallContext) -> bool:
        """Begin to tell this caller; False if there is no room for it."""
        scope = context.scope
        if len(self._listeners) >= MAX_LISTENERS or self._per_scope[scope] >= MAX_LISTENERS_PER_SCOPE:
            return False
        wish = _read_wish(inbound.frame.arguments)
        uris: frozenset[str] | None = None
        new: list[str] = []
        if not wish.scope:
            asked = wish.notifications.resource_subscriptions[:MAX_URIS_PER_SCOPE]
            new = self._interest.add(dict.fromkeys(asked)) if self.upstream.can_follow else []
            uris = (
                frozenset(uri for uri in asked if uri in self._interest)
                if self.upstream.can_follow
                else frozenset()
            )
        asked_tasks = dict.fromkeys(wish.notifications.task_ids[:MAX_TASKS_PER_LISTENER])
        new_tasks = self._tasks.add(asked_tasks)
        tasks = frozenset(ident for ident in asked_tasks if ident in self._tasks)
        honoured = {"resourceSubscriptions": sorted(uris)} if uris else {}
        frame = EventFrame(ACKNOWLEDGED, msgspec.Raw(_encode({"notifications": honoured})))
        self._per_scope[scope] += 1
        self._listeners[inbound] = listener = _Listener(scope, uris, tasks)

        def acknowledge() -> None:
            listener.is_acknowledged = True
            inbound.event(frame)

        self.upstream.changed(new, (), acknowledge, are_tasks_others=bool(new_tasks))
        return True

    def leave(self, inbound: Inbound) -> bool:
        """This caller no longer listens; False if it did not."""
        listener = self._listeners.pop(inbound, None)
        if listener is None:
            return False
        self._per_scope[listener.scope] -= 1
        if not self._per_scope[listener.scope]:
            del self._per_scope[listener.scope]
        gone, gone_tasks = self._interest.drop(listener.uris or ()), self._tasks.drop(listener.tasks)
        self.upstream.changed((), gone, are_tasks_others=bool(gone_tasks))
        return True

    def close(self) -> None:
        """All listeners are told that it is over."""
        for inbound in [*self._listeners]:
            self.leave(inbound)
            inbound.fail("plugin_exited", "the plugin no longer runs for this client")

    def tell_scope(self, scope: str, frame: EventFrame) -> bool:
        """Tell one listener of this scope that hears whatever belongs to it; False if there is none."""
        for inbound, listener in self._listeners.items():
            if listener.scope == scope and listener.uris is None and listener.is_acknowledged:
                inbound.event(frame)
                return True
        return False

    def updated(self, notification: Notification) -> bool:
        """A resource changed; False if nobody follows it."""
        params = event_params(notification)
        uri = params.get("uri") if params is not None else None
        if params is None or not isinstance(uri, str):
            return False
        frame = EventFrame(UPDATED, msgspec.Raw(_encode(params)))
        was_heard = False
        for inbound, listener in self._listeners.items():
            if listener.is_acknowledged and _has_part(self._followed(listener), uri):
                inbound.event(frame)
                was_heard = True
        return was_heard

    def task_told(self, notification: Notification) -> bool:
        """A task is in another state; False if nobody follows it."""
        params = event_params(notification)
        ident = params.get("taskId") if params is not None else None
        if params is None or not isinstance(ident, str):
            return False
        frame = EventFrame(TASK_NEWS, msgspec.Raw(_encode(params)))
        hear = [one for one, what in self._listeners.items() if what.is_acknowledged and ident in what.tasks]
        for inbound in hear:
            inbound.event(frame)
        return bool(hear)

    def _followed(self, listener: _Listener) -> Collection[str]:
        if listener.uris is not None:
            return listener.uris
        scope = self.scopes.get(listener.scope)
        return () if scope is None else scope.uris


def event_params(notification: Notification) -> dict[str, object] | None:
    """The parameters of a notification without its `_meta`; None if they cannot be read."""
    try:
        params = msgspec.json.decode(bytes(notification.params) or b"{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if not isinstance(params, dict):
        return None
    params.pop("_meta", None)  # it speaks of our subscription, not of the client's
    return params


def _has_part(followed: Collection[str], uri: str) -> bool:
    return uri in followed or any(is_part_of(uri, one) for one in followed)


def _read_wish(params: bytes) -> _Wish:
    try:
        return msgspec.json.decode(params, type=_Wish)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Wish()
