"""Calls as nearly all are: sent once, answered once, and nothing is asked or said in their midst.

Guarantees
- such a call costs one entry and one message, also where it is of a client that could be asked;
- when the plugin does ask, or speaks in its midst, the call becomes an `Exchange` in the very place it has: with its
  caller, its request, its deadline and its turn among the others;
- it ends exactly once: by its answer, by its withdrawal, or by its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from sekisho.plugin_server.clock import Clock
from sekisho.plugin_server.contexts import Known
from sekisho.plugin_server.era import Stamp
from sekisho.plugin_server.errand import Errand
from sekisho.plugin_server.exchange import URL_REQUIRED, Exchange
from sekisho.plugin_server.exchanges import Exchanges
from sekisho.plugin_server.hearing import Hearing
from sekisho.plugin_server.listening import Listening
from sekisho.plugin_server.plain_call import PlainCall
from sekisho.plugin_server.roster import Roster
from sekisho.plugin_server.session import Answer, PluginSession, RpcError
from sekisho.wire import CallContext, Inbound

__all__ = ["PlainCalls", "tool_call"]


class PlainCalls:
    """Those of one plugin. `on_hang` hears that the plugin did not answer one in time."""

    def __init__(
        self,
        *,
        roster: Roster,
        clock: Clock,
        listening: Listening,
        hearing: Hearing,
        exchanges: Exchanges,
        execution_timeout_s: float,
        on_hang: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._under_way = roster.entries
        self._clock = clock
        self._scopes = listening.scopes.table
        self._upstream = listening.upstream
        self._hearing = hearing
        self._exchanges = exchanges
        self._execution_timeout_s = execution_timeout_s
        self._on_hang = on_hang
        self._now = asyncio.get_running_loop().time

    def take(self, session: PluginSession, inbound: Inbound, known: Known | None) -> None:
        """Send a call of a tool to the plugin."""
        frame = inbound.frame
        timeout_s = min(frame.timeout_s, self._execution_timeout_s)
        deadline = self._now() + timeout_s
        call = PlainCall(
            self,
            inbound,
            under_way=self._under_way,
            session=session,
            deadline=deadline,
            timeout_s=timeout_s,
            known=known,
        )
        self._under_way[inbound] = call
        tails: tuple[bytes, bytes] | None = None
        if known is None:
            self._hearing.is_for_strangers = True
        elif known.session is session and not (self._scopes or self._upstream.has_level):
            tails = known.tails
        else:
            tails = self._tails(session, known)
        note = inbound.note if frame.wants_progress else None
        call.ident = session.call_tool(frame.tool, frame.arguments, call, note, tails)
        if deadline < self._clock.next_at:
            self._clock.watch(deadline)

    def _tails(self, session: PluginSession, known: Known) -> tuple[bytes, bytes]:
        """How calls with this context end, with the log level that their client has set by now."""
        level, context = self._exchanges.log_level(known.context), known.context
        if known.session is not session or known.level != level:
            stamp = Stamp(context.may_ask if context.scope else (), level)
            known.session, known.level, known.tails = session, level, session.tails_of(stamp)
        if level is not None and not session.modern:
            self._upstream.sync_level(level)
        return known.tails

    def promote(self, call: PlainCall) -> Exchange:
        """The exchange that takes the place of this call."""
        known, inbound = call.known, call.inbound
        exchange = Exchange(
            self._exchanges,
            call.session,
            tool_call(inbound, call.context),
            timeout_s=call.timeout_s,
            log_level=None if known is None else known.level,
            on_end=None,
        )
        exchange.take_over(call.ident, call.deadline)
        self._roster.enter(inbound, exchange)
        call.session.hand_over(call.ident, exchange.hear, exchange.note)
        return exchange

    def finish(self, call: PlainCall, answer: Answer) -> None:
        """The plugin answered with a question, or not with a result at all."""
        inbound = call.inbound
        if inbound not in self._under_way:
            return  # the call was withdrawn, or its time is over
        if isinstance(answer, bytes) or (isinstance(answer, RpcError) and answer.code == URL_REQUIRED):
            self.promote(call).hear(answer)
            return
        del self._under_way[inbound]
        if isinstance(answer, RpcError):
            inbound.refer(answer.raw)
        else:
            inbound.fail(answer.code, answer.message)

    def withdraw(self, call: PlainCall, reason: str) -> None:
        """Nobody waits for it any more."""
        if self._under_way.pop(call.inbound, None) is not None:
            call.session.cancel(call.ident, reason)
            self._roster.leave_behind(call.ident, call.scope, call.timeout_s)

    def overdue(self, call: PlainCall) -> None:
        """Its time is over."""
        self.withdraw(call, "execution timeout")
        call.inbound.fail("plugin_timeout", f"the plugin took longer than {call.timeout_s:g} s")
        self._on_hang()


def tool_call(inbound: Inbound, context: CallContext) -> Errand:
    """What a call of a tool asks of the plugin."""
    frame = inbound.frame
    return Errand(
        inbound, context, "tools/call", {"name": frame.tool, "arguments": msgspec.Raw(frame.arguments)}
    )
