"""What a plugin says on its own account in the midst of calls, and to which client it goes.

Guarantees that a question or a log line which names no call (stdio) goes to a client only if nobody else's call is
under way, or was withdrawn and may still be worked on: what one client's call led to is never shown to another. Over
HTTP it belongs to the call on whose stream it came, and to nobody once that is over. Between calls a log line is told
only while a single scope has called since the plugin started. Whatever belongs to nobody is refused or dropped, and
counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError, Unavailable
from sekisho.plugin_server.asking import ROOTS
from sekisho.plugin_server.exchange import Exchange
from sekisho.plugin_server.listening import Listening, event_params
from sekisho.plugin_server.plain_call import PlainCall
from sekisho.plugin_server.roster import Roster
from sekisho.plugin_server.scopes import LEVELS
from sekisho.plugin_server.session import PluginSession
from sekisho.plugin_server.subscribing import DEFAULT_LEVEL
from sekisho.protocol import Notification, Request
from sekisho.wire import EventFrame

__all__ = ["Hearing", "HearingCounters"]

MAX_ELICITATIONS: Final = 1_024  # clients that were sent to a URL and are told when it is done
_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class HearingCounters:
    """What was dropped because it belonged to nobody."""

    questions: int = 0
    events: int = 0
    ambiguous: int = 0  # of the questions: those that could have been of several clients


class Hearing:
    """The listener of one plugin's session."""

    def __init__(self, roster: Roster, listening: Listening) -> None:
        self.counters = HearingCounters()
        self._roster = roster
        self._listening = listening
        self._session: PluginSession | None = None
        self.is_for_strangers = False  # a call without context came in this life of the plugin
        self._seen: set[str] = set()  # scopes that called in this life of the plugin; two say enough
        self._elicited: OrderedDict[str, str] = (
            OrderedDict()
        )  # the scope by the plugin's id of an elicitation

    def opened(self, session: PluginSession) -> None:
        """A plugin runs."""
        self._session = session
        self._roster.begin_anew()
        self._seen.clear()
        self.is_for_strangers = False
        session.listener = self

    def called(self, scope: str) -> None:
        """A client of this scope calls."""
        if len(self._seen) < 2:
            self._seen.add(scope)

    def elicited(self, scope: str, elicitation: str) -> None:
        """A client of this scope was sent to a URL under this id."""
        if scope and len(elicitation) <= MAX_ELICITATIONS:
            self._elicited[elicitation] = scope
            if len(self._elicited) > MAX_ELICITATIONS:
                self._elicited.popitem(last=False)

    def asked(self, request: Request, of: int | None) -> None:
        """A legacy plugin asks a client: whichever call it belongs to."""
        session = self._session
        if session is None:
            return
        exchange = self._call_of(session, of) if of is not None else self._only_one_to_ask()
        if request.method == ROOTS and (exchange is None or not exchange.may_be_asked_for(ROOTS)):
            session.answer_plugin(request.id, session.roots_result())
            return
        if exchange is not None:
            exchange.ask(request)
            return
        self.counters.questions += 1
        if any(one.can_be_asked for one in self._roster.entries.values()):
            self.counters.ambiguous += 1
            session.refuse_plugin(
                request.id, Unavailable("busy", "calls of several clients are under way, and this names none")
            )
        else:
            session.refuse_plugin(
                request.id, RemoteProtocolError("method_unknown", "nobody may be asked for this")
            )

    def answered_late(self, ident: int | str | None) -> None:
        """The plugin answered a request that nobody waits for."""
        self._roster.answered_late(ident)

    def told(self, notification: Notification, of: int | None) -> None:
        """A notification of the plugin that is neither progress nor about its lists."""
        match notification.method:
            case "notifications/message":
                was_heard = self._logged(notification, of)
            case "notifications/resources/updated":
                was_heard = self._listening.updated(notification)
            case "notifications/subscriptions/acknowledged":
                self._listening.upstream.acknowledged(notification, of)
                was_heard = True
            case "notifications/tasks":
                was_heard = self._listening.task_told(notification)
            case "notifications/elicitation/complete":
                was_heard = self._elicitation_completed(notification)
            case "notifications/cancelled":
                self._taken_back(notification)
                was_heard = True
            case _:
                was_heard = False
        if not was_heard:
            self.counters.events += 1

    def _only_one_to_ask(self) -> Exchange | None:
        if not self._roster.is_for_one_scope:
            return None
        able = [call for call in self._roster.entries.values() if call.can_be_asked]
        free = [call for call in able if not call.is_asking] or able
        return free[0].as_exchange() if len(free) == 1 else None

    def _call_of(self, session: PluginSession, of: int) -> Exchange | None:
        """The call that waits for this request, if anything is known of its client."""
        waiter = session.waiter_of(of)
        if isinstance(waiter, PlainCall):
            return None if waiter.known is None else waiter.as_exchange()
        return self._roster.that_waits_for(of)

    def _logged(self, notification: Notification, of: int | None) -> bool:
        params = event_params(notification)
        level = params.get("level") if params is not None else None
        if params is None or not isinstance(level, str) or level not in LEVELS:
            return False
        frame = EventFrame(notification.method, msgspec.Raw(_encode(params)))
        if of is not None and self._session is not None:  # of a call that was answered: nobody's
            exchange = self._call_of(self._session, of)
            return exchange is not None and _admits(exchange.log_level, level) and exchange.event(frame)
        if not self._roster.entries:
            return self._logged_outside(frame, level)
        if not self._roster.is_for_one_scope:
            return False
        newest = self._roster.newest()
        if len(self._roster.entries) > 1 and self._tell_scope(newest.scope, frame, level):
            return True
        exchange = newest.as_exchange()
        return _admits(exchange.log_level, level) and exchange.event(frame)

    def _logged_outside(self, frame: EventFrame, level: str) -> bool:
        """Between calls: only if nobody but one scope has called since the plugin started."""
        if len(self._seen) != 1 or self.is_for_strangers:
            return False
        return self._tell_scope(next(iter(self._seen)), frame, level)

    def _tell_scope(self, name: str, frame: EventFrame, level: str) -> bool:
        scope = self._listening.scopes.get(name)
        wanted = DEFAULT_LEVEL if scope is None or scope.level is None else scope.level
        return _admits(wanted, level) and self._listening.tell_scope(name, frame)

    def _elicitation_completed(self, notification: Notification) -> bool:
        params = event_params(notification)
        elicitation = params.get("elicitationId") if params is not None else None
        scope = self._elicited.pop(elicitation, None) if isinstance(elicitation, str) else None
        if scope is None:
            return False
        frame = EventFrame(notification.method, msgspec.Raw(_encode({"elicitationId": elicitation})))
        for call in [call for call in self._roster.entries.values() if call.scope == scope]:
            exchange = call.as_exchange()
            if exchange.is_asked_on_stream and exchange.event(frame):
                return True
        return self._listening.tell_scope(scope, frame)

    def _taken_back(self, notification: Notification) -> None:
        params = event_params(notification)
        ident = params.get("requestId") if params is not None else None
        if isinstance(ident, int | str) and not isinstance(ident, bool):
            for exchange in list(self._roster.exchanges):
                exchange.forget_question(ident)


def _admits(wanted: str | None, level: str) -> bool:
    return wanted is not None and LEVELS[level] >= LEVELS[wanted]
