"""The desk: takes every call to one plugin, answers it or hands it on, and ends it when its time is over.

Guarantees
- a call is answered exactly once: by the plugin, by its timeout, or by the end of the plugin;
- a call of a tool costs one entry and one message; all else is done only for calls in whose midst something is said.

Such a call is one of the `plain_calls`; what others go through is `exchange`'s, and what the plugin says by itself is
`hearing`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from sekisho.errors import SekishoError
from sekisho.plugin_server.clock import Clock
from sekisho.plugin_server.contexts import Contexts
from sekisho.plugin_server.errand import Errand
from sekisho.plugin_server.exchanges import Exchanges
from sekisho.plugin_server.hearing import Hearing
from sekisho.plugin_server.listening import Listening
from sekisho.plugin_server.plain_calls import PlainCalls, tool_call
from sekisho.plugin_server.roster import Roster
from sekisho.plugin_server.session import PluginSession
from sekisho.plugin_server.task_roots import narrowed_update
from sekisho.plugin_server.wishes import Wishes
from sekisho.wire import AnswerFrame, CallContext, Inbound

__all__ = ["METHODS", "Desk"]

TASK_METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})  # MCP 2026-07-28, tasks
METHODS: Final = frozenset(
    {
        "prompts/get",
        "resources/read",
        "completion/complete",
        "resources/subscribe",
        "resources/unsubscribe",
        "logging/setLevel",
        "subscriptions/listen",
        *TASK_METHODS,
    }
)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Desk:
    """The calls of one plugin. `on_hang` hears that the plugin did not answer one in time."""

    def __init__(
        self, *, execution_timeout_s: float, on_hang: Callable[[], None], instance: str = ""
    ) -> None:
        self._session: PluginSession | None = None
        self._contexts = Contexts(instance)
        self._known = self._contexts.get
        self._roster = Roster(asyncio.get_running_loop().time)
        self._under_way = self._roster.entries
        self._clock = Clock(self._under_way.values())
        self._listening = Listening()
        self._hearing = Hearing(self._roster, self._listening)
        self._exchanges = Exchanges(
            roster=self._roster,
            clock=self._clock,
            listening=self._listening,
            hearing=self._hearing,
            execution_timeout_s=execution_timeout_s,
            on_hang=on_hang,
        )
        self._plain = PlainCalls(
            roster=self._roster,
            clock=self._clock,
            listening=self._listening,
            hearing=self._hearing,
            exchanges=self._exchanges,
            execution_timeout_s=execution_timeout_s,
            on_hang=on_hang,
        )
        self._wishes = Wishes(self._listening, self._exchanges)

    # the plugin

    def opened(self, session: PluginSession, capabilities: msgspec.Raw) -> None:
        """A plugin runs and takes calls."""
        self._session = session
        self._hearing.opened(session)
        self._listening.upstream.opened(session, capabilities)

    def reopened(self, session: PluginSession, capabilities: msgspec.Raw) -> None:
        """The plugin forgot what it was asked: ask it again. Calls go on."""
        self._listening.upstream.opened(session, capabilities)

    def closed(self) -> None:
        """It runs no longer; calls that come now are refused at once."""
        self._session = None
        self._listening.upstream.closed()

    def close(self) -> None:
        """The warden ends."""
        self._clock.stop()

    def take_dropped(self) -> dict[str, int]:
        """What belonged to nobody since this was last asked: the plugin's questions and events, clients' answers."""
        heard, exchanges = self._hearing.counters, self._exchanges
        dropped = {
            "questions": heard.questions,
            "ambiguous": heard.ambiguous,
            "events": heard.events,
            "answers": exchanges.unknown_answers,
        }
        heard.questions = heard.ambiguous = heard.events = exchanges.unknown_answers = 0
        return {name: number for name, number in dropped.items() if number}

    def refresh(self) -> None:
        """Subscribe again where a subscription was lost."""
        self._listening.upstream.refresh()

    # for whoever decides how long the plugin runs

    @property
    def is_open(self) -> bool:
        """True while a plugin takes calls."""
        return self._session is not None

    @property
    def is_busy(self) -> bool:
        """True while a call is under way or parked."""
        return bool(self._under_way)

    @property
    def is_followed(self) -> bool:
        """True while somebody listens for news of a resource or a task."""
        return self._listening.is_followed

    @property
    def is_empty(self) -> bool:
        """True when nothing is known here that outlives the plugin."""
        return self._listening.is_empty and not self.is_busy

    def asks(self, handle: str) -> bool:
        """True while a client is asked under this handle."""
        return self._exchanges.asks(handle)

    def end_listening(self) -> None:
        """Whoever listens hears no more."""
        self._listening.close()

    def remember(self, inbound: Inbound) -> None:
        """Take a wish that needs no running plugin: what a session wants to hear, once there is something."""
        try:
            context = self._contexts.read(inbound.frame.context).context
            members = _members.decode(inbound.frame.arguments)
        except SekishoError as error:
            inbound.fail(error.code, error.message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            inbound.fail("params_invalid", "the parameters are no object")
        else:
            if inbound.frame.tool == "logging/setLevel":
                self._wishes.set_level(Errand(inbound, context, inbound.frame.tool, members))
            elif not self._listening.listen(inbound, context):
                inbound.fail("busy", "too many listen already")

    # calls

    def call(self, inbound: Inbound) -> None:
        """Carry out one call; its answer, refusal or timeout reaches `inbound` exactly once."""
        session, frame = self._session, inbound.frame
        if session is None:
            inbound.fail("plugin_unavailable", "the plugin is not running")
            return
        if not session.has_room():
            # many large calls of one client must neither fill our memory nor end the plugin of all others
            inbound.fail("busy", "the plugin has not read the calls before this one")
            return
        known = self._known(frame.context)
        if frame.tool in METHODS or (known is None and frame.context):
            self._call_in_context(session, inbound)
            return
        if known is not None:
            self._hearing.called(known.scope)
        self._plain.take(session, inbound, known)

    def cancel(self, inbound: Inbound) -> None:
        """The core no longer waits for this call."""
        call = self._under_way.get(inbound)
        if call is not None:
            call.withdraw("the caller withdrew the request")
        else:
            self._listening.leave(inbound)

    def answer(self, frame: AnswerFrame) -> None:
        """A client answered a question of the plugin."""
        self._exchanges.answer(frame)

    def _call_in_context(self, session: PluginSession, inbound: Inbound) -> None:
        frame = inbound.frame
        try:
            known = self._contexts.read(frame.context)
        except SekishoError as error:
            inbound.fail(error.code, error.message)
            return
        self._hearing.called(known.context.scope)
        if frame.tool in METHODS:
            self._serve(session, inbound, known.context)
        elif known.is_plain:
            self._plain.take(session, inbound, known)
        else:
            self._exchanges.take(session, tool_call(inbound, known.context))

    def _serve(self, session: PluginSession, inbound: Inbound, context: CallContext) -> None:
        frame = inbound.frame
        try:
            members = _members.decode(frame.arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            inbound.fail("params_invalid", "the parameters are no object")
            return
        members.pop("_meta", None)
        errand = Errand(inbound, context, frame.tool, members)
        match frame.tool:
            case method if method in TASK_METHODS and not session.modern:
                # the tasks of 2025-11-25 are others, and stay hidden
                inbound.fail("method_unknown", "the plugin is of an era without this extension")
            case "subscriptions/listen":
                if not self._listening.listen(inbound, context):
                    inbound.fail("busy", "too many listen already")
            case "logging/setLevel":
                self._wishes.set_level(errand)
            case "resources/subscribe":
                self._wishes.subscribe(session, errand)
            case "resources/unsubscribe":
                self._wishes.unsubscribe(errand)
            case "tasks/update":
                narrowed = narrowed_update(session.roots, members)
                self._exchanges.take(session, Errand(inbound, context, frame.tool, narrowed))
            case _:
                self._exchanges.take(session, errand)
