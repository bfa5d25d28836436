"""All calls with a context: begins them, parks them between rounds, and brings answers to the questions they asked.

Guarantees that an answer of a client reaches only the question it names, from the scope that was asked, and that a
parked call is carried on only by the same scope and operation; whatever else comes is refused or counted. What the
answers say is written out again by us, so that no answer can be two messages on a plugin's pipe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.plugin_server.asking import read_state
from sekisho.plugin_server.clock import Clock
from sekisho.plugin_server.errand import Errand
from sekisho.plugin_server.exchange import Exchange
from sekisho.plugin_server.handles import Handles
from sekisho.plugin_server.hearing import Hearing
from sekisho.plugin_server.listening import Listening
from sekisho.plugin_server.roots import narrowed_roots
from sekisho.plugin_server.roster import Roster
from sekisho.plugin_server.scopes import LEVELS
from sekisho.plugin_server.session import PluginSession
from sekisho.plugin_server.subscribing import DEFAULT_LEVEL
from sekisho.protocol import decode_distinct
from sekisho.wire import AnswerFrame, CallContext

__all__ = ["Exchanges"]

GATHER_S: Final = 0.02  # a person does not notice
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_MORE = "what this answers is no longer asked; call again"


class Exchanges:
    """The keeper of exchanges. `on_hang` hears that the plugin did not answer one in time."""

    def __init__(
        self,
        *,
        roster: Roster,
        clock: Clock,
        listening: Listening,
        hearing: Hearing,
        execution_timeout_s: float,
        on_hang: Callable[[], None],
    ) -> None:
        self.questions: Handles[Callable[[AnswerFrame], None]] = Handles()
        self.unknown_answers = 0  # of clients
        self._parked: Handles[Exchange] = Handles()
        self._roster = roster
        self._clock = clock
        self._listening = listening
        self._hearing = hearing
        self._execution_timeout_s = execution_timeout_s
        self._on_hang = on_hang
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time

    def take(self, session: PluginSession, errand: Errand) -> None:
        """Begin a call, or carry on the one that its `request_state` names."""
        try:
            responses = _read_responses(errand.context) if errand.context.input_responses else {}
        except SekishoError as error:
            errand.inbound.fail(error.code, error.message)
            return
        given = errand.context.request_state
        if given is None:
            # a legacy plugin that was told of visited URLs is simply called again
            self.begin(session, errand).send(responses if session.modern else None)
        elif session.modern:
            self._next_round(session, errand, given, responses)
        else:
            self._carry_on(errand, given, responses)

    def begin(
        self,
        session: PluginSession,
        errand: Errand,
        on_end: Callable[[bool], None] | None = None,
    ) -> Exchange:
        """An exchange that has not yet been sent; `on_end` hears whether it succeeded."""
        log_level = self.log_level(errand.context)
        if log_level is not None and not session.modern:
            self._listening.upstream.sync_level(log_level)
        timeout_s = min(errand.inbound.frame.timeout_s, self._execution_timeout_s)
        exchange = Exchange(self, session, errand, timeout_s=timeout_s, log_level=log_level, on_end=on_end)
        self._roster.enter(errand.inbound, exchange)
        return exchange

    def answer(self, frame: AnswerFrame) -> None:
        """A client answered a question of the plugin."""
        try:
            if bool(frame.result) == bool(frame.error):
                raise RemoteProtocolError("message_invalid", "an answer is a result or an error")
            said, text = decode_distinct(bytes(frame.result or frame.error))
            if not isinstance(said, dict):
                raise RemoteProtocolError("message_invalid", "an answer is an object")
        except SekishoError:
            self.unknown_answers += 1
            return
        hear = self.questions.take(frame.ask, frame.scope)
        if hear is None:
            self.unknown_answers += 1
            return
        nothing, clean = msgspec.Raw(), msgspec.Raw(text)
        hear(AnswerFrame(frame.scope, frame.ask, *((nothing, clean) if frame.error else (clean, nothing))))

    def asks(self, handle: str) -> bool:
        """True while a client is asked under this handle."""
        return handle in self.questions

    def log_level(self, context: CallContext) -> str | None:
        """Which logs a call wants: what it says, else what its scope has set, else on a stream the default."""
        if context.log_level is not None:
            return context.log_level if context.log_level in LEVELS else None
        scope = self._listening.scopes.get(context.scope)
        if scope is not None and scope.level is not None:
            return scope.level
        return DEFAULT_LEVEL if context.style == "stream" else None

    # for exchanges

    def soon(self, then: Callable[[], None]) -> None:
        """Call this in a moment: questions that a plugin asks together arrive one after the other."""
        self._loop.call_later(GATHER_S, then)

    def began(self, exchange: Exchange) -> None:
        """It waits for the answer to another request, or until another deadline."""
        if self._roster.waits(exchange) and exchange.deadline < self._clock.next_at:
            self._clock.watch(exchange.deadline)

    def park(self, exchange: Exchange) -> str | None:
        """Keep it without its caller; its handle, or None if too many are kept."""
        handle = self._parked.add(exchange.scope, exchange)
        if handle is not None:
            self._roster.park(exchange)
        return handle

    def left_behind(self, exchange: Exchange) -> None:
        """The request that it waits for was withdrawn from the plugin."""
        self._roster.leave_behind(exchange.ident, exchange.scope, exchange.timeout_s)

    def ended(self, exchange: Exchange) -> None:
        """It is over."""
        if exchange.handle is not None:
            self._parked.drop(exchange.handle)
        self._roster.leave(exchange)

    def hung(self) -> None:
        """The plugin did not answer in time."""
        self._on_hang()

    def elicited(self, exchange: Exchange, elicitation: str) -> None:
        """Its client was sent to a URL under this id."""
        self._hearing.elicited(exchange.scope, elicitation)

    # rounds

    def _next_round(
        self, session: PluginSession, errand: Errand, given: str, responses: dict[str, msgspec.Raw]
    ) -> None:
        state = read_state(given)
        if state is None:
            errand.inbound.fail("params_invalid", _NO_MORE)
            return
        answers = responses | dict.fromkeys(state.roots, msgspec.Raw(session.roots_result()))
        for key in state.narrowed:
            if key in answers:
                answers[key] = msgspec.Raw(narrowed_roots(session.roots, bytes(answers[key])))
        self.begin(session, errand).send(answers, state.state)

    def _carry_on(self, errand: Errand, given: str, responses: dict[str, msgspec.Raw]) -> None:
        """The parked call this answers, if it is of the same scope and operation; else it stays parked."""
        scope, inbound = errand.context.scope, errand.inbound
        parked = self._parked.look(given, scope)
        if parked is None or parked.name != inbound.frame.tool:
            inbound.fail("params_invalid", _NO_MORE)
            return
        self._parked.drop(given)
        self._roster.carry_on(parked, inbound)
        parked.resume(inbound, errand.context, responses)


def _read_responses(context: CallContext) -> dict[str, msgspec.Raw]:
    """What the client answered in this round, in our own spelling."""
    text = decode_distinct(bytes(context.input_responses))[1]
    try:
        return _members.decode(text)
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError("params_invalid", "inputResponses is an object") from error
