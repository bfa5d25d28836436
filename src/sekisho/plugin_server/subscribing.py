"""What we ask of a plugin so that clients hear what they follow: subscriptions of both eras, and the level of its log.

Guarantees
- the plugin is asked once for all who follow a resource, and told when nobody does;
- what clients want outlives the plugin: it is asked again at its next start;
- a modern plugin has one `subscriptions/listen` from us, replaced by a wider or narrower one without a gap; a legacy one
  that announces subscriptions has one `resources/subscribe` for each resource that somebody follows;
- the level asked of a legacy plugin is the most verbose that anybody wants, and never above "info", because clients that
  set none are told of "info"; what each client hears is decided elsewhere;
- a plugin that answers or acknowledges nothing is not asked without end, and holds nobody up for long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from sekisho.plugin_server.era import NO_STAMP, TASKS, Stamp
from sekisho.plugin_server.scopes import LEVELS, Interest, Scopes
from sekisho.plugin_server.session import Answer, PluginSession
from sekisho.protocol import Notification

__all__ = ["DEFAULT_LEVEL", "MAX_OPEN_LISTENS", "Subscriptions"]

MAX_OPEN_LISTENS: Final = 4  # a plugin that acknowledges nothing must not be asked without end
MAX_CHORES: Final = 10_000  # requests of our own that a plugin has not answered
DEFAULT_LEVEL: Final = "info"
LISTEN: Final = "subscriptions/listen"
_KNOWS_TASKS: Final = Stamp((TASKS,))
_LIST_FLAGS: Final = {
    "tools": "toolsListChanged",
    "prompts": "promptsListChanged",
    "resources": "resourcesListChanged",
}


class _Feature(msgspec.Struct, rename="camel"):
    list_changed: bool | None = None
    subscribe: bool | None = None


class _Offer(msgspec.Struct):
    """The capabilities of a plugin, as far as they concern what it says by itself."""

    tools: _Feature | None = None
    prompts: _Feature | None = None
    resources: _Feature | None = None
    logging: msgspec.Raw = msgspec.Raw()


class _AcknowledgedMeta(msgspec.Struct):
    subscription: int = msgspec.field(name="io.modelcontextprotocol/subscriptionId")


class _Acknowledged(msgspec.Struct):
    meta: _AcknowledgedMeta = msgspec.field(name="_meta")


class Subscriptions:
    """What the plugin that runs now was asked for."""

    def __init__(self, interest: Interest, scopes: Scopes, tasks: Interest | None = None) -> None:
        self._interest = interest
        self._tasks = Interest() if tasks is None else tasks
        self._scopes = scopes
        self._session: PluginSession | None = None
        self._offer = _Offer()
        self._chores = 0
        self.has_level = (
            False  # a legacy plugin runs that writes log lines, and has to be told which are wanted
        )
        self._level: str | None = None  # that it was told
        self._is_setting_level = False
        self._open: list[
            int
        ] = []  # our listen requests to a modern plugin, each newer one to replace those before
        self._is_stale = False  # there should be a newer one
        self._waiting: list[tuple[int, Callable[[], None]]] = []  # until the plugin acknowledged this request

    def opened(self, session: PluginSession, capabilities: bytes | msgspec.Raw) -> None:
        """A plugin runs: ask it for all that is wanted."""
        self._session = session
        self._offer = _read_offer(capabilities)
        self._chores = 0
        self.has_level = not session.modern and bool(self._offer.logging)
        self._level, self._is_setting_level = None, False
        self._open, self._is_stale = [], False
        if session.modern:
            self._listen_anew()
        else:
            self._follow(self._interest.uris)
            if self._scopes.most_verbose() is not None:
                self.sync_level()

    def closed(self) -> None:
        """No plugin runs."""
        self._session, self.has_level = None, False
        self._wait_no_longer(None)

    def refresh(self) -> None:
        """Ask again for what was lost, and let nobody wait for a plugin that does not acknowledge."""
        if self._session is not None and self._session.modern and not self._open:
            self._listen_anew()
        self._wait_no_longer(None)

    @property
    def can_follow(self) -> bool:
        """True if the plugin tells of changed resources."""
        return self._offer.resources is not None and self._offer.resources.subscribe is True

    def changed(
        self,
        new: Collection[str],
        gone: Collection[str],
        then: Callable[[], None] = lambda: None,
        *,
        are_tasks_others: bool = False,
    ) -> None:
        """Somebody follows these first, nobody those any more; `then` is called when the plugin knows.

        Args:
            are_tasks_others: Other tasks are followed than before.
        """
        session = self._session
        if session is None or not (new or gone or (are_tasks_others and session.modern)):
            then()
        elif session.modern:
            self._listen_anew()
            if self._open and len(self._waiting) < MAX_CHORES:
                self._waiting.append((self._open[-1], then))
            else:
                then()
        else:
            self._follow(new)
            for uri in gone:
                self._chore("resources/unsubscribe", {"uri": uri})
            then()  # pipes keep the order, and over HTTP a first call is not faster than a first subscription

    def sync_level(self, also: str | None = None) -> None:
        """Let a legacy plugin send the logs that somebody wants."""
        session = self._session
        if session is None or not self.has_level or self._is_setting_level:
            return
        wanted = min((self._scopes.most_verbose(), also, DEFAULT_LEVEL), key=_rank)
        if wanted is None or wanted == self._level:
            return
        if also is not None and self._level is not None and _rank(wanted) > _rank(self._level):
            return  # one call that wants less must not take it from the others
        self._level, self._is_setting_level = wanted, True

        def done(answer: Answer) -> None:
            del answer
            self._is_setting_level = False

        session.request("logging/setLevel", {"level": wanted}, done)

    def acknowledged(self, notification: Notification, of: int | None) -> None:
        """One of our subscriptions upstream stands: the older ones may go."""
        ident = of if of in self._open else _subscription(notification)
        if ident is None or ident not in self._open:
            return
        at = self._open.index(ident)
        older, self._open = self._open[:at], self._open[at:]
        if self._session is not None:
            for one in older:
                self._session.cancel(one, "replaced")
        self._wait_no_longer(ident)
        if self._is_stale:
            self._listen_anew()

    def _wait_no_longer(self, ident: int | None) -> None:
        """Whoever waits for this request, or one before it, goes on; with None everybody."""
        waiting, self._waiting = self._waiting, []
        for needed, then in waiting:
            if ident is None or needed <= ident:
                then()
            else:
                self._waiting.append((needed, then))

    def _follow(self, uris: Iterable[str]) -> None:
        if self.can_follow:
            for uri in uris:
                self._chore("resources/subscribe", {"uri": uri})

    def _chore(self, method: str, params: Mapping[str, object]) -> None:
        if self._session is None or self._chores >= MAX_CHORES or not self.can_follow:
            return
        self._chores += 1

        def done(answer: Answer) -> None:
            del answer
            self._chores -= 1

        self._session.request(method, params, done)

    def _listen_anew(self) -> None:
        session = self._session
        if session is None:
            return
        self._is_stale = len(self._open) >= MAX_OPEN_LISTENS  # first one of them has to stand
        if self._is_stale:
            return
        wanted = self._wanted()
        if wanted:
            stamp = _KNOWS_TASKS if self._tasks.uris else NO_STAMP
            asked = {"notifications": wanted}
            self._open.append(session.request(LISTEN, asked, self._listen_ended, stamp=stamp))
            return
        for one in self._open:
            session.cancel(one, "nobody listens")
        self._open = []

    def _listen_ended(self, answer: Answer) -> None:
        """The plugin closed a subscription; the next health check asks again."""
        del answer
        session = self._session
        if session is not None:
            self._open = [one for one in self._open if session.is_waiting(one)]
            if not self._open:
                self._wait_no_longer(None)

    def _wanted(self) -> dict[str, object]:
        wanted: dict[str, object] = {}
        for name, flag in _LIST_FLAGS.items():
            feature: _Feature | None = getattr(self._offer, name)
            if feature is not None and feature.list_changed is True:
                wanted[flag] = True
        if self.can_follow and self._interest.uris:
            wanted["resourceSubscriptions"] = self._interest.uris
        if self._tasks.uris:
            wanted["taskIds"] = self._tasks.uris
        return wanted


def _subscription(notification: Notification) -> int | None:
    """Which of our requests it belongs to, as the plugin says."""
    try:
        return msgspec.json.decode(bytes(notification.params), type=_Acknowledged).meta.subscription
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _rank(level: str | None) -> int:
    return len(LEVELS) if level is None else LEVELS[level]


def _read_offer(capabilities: bytes | msgspec.Raw) -> _Offer:
    try:
        return msgspec.json.decode(bytes(capabilities), type=_Offer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Offer()  # a plugin that misstates what it offers is asked for nothing
