from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from sekisho.plugin_server.roster import MAX_LEFT, Entry, Roster
from sekisho.wire import CallContext, Inbound
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

ROUNDS = CallContext(scope="s1", may_ask=("elicitation",))
STREAM = CallContext(scope="s2", style="stream", may_ask=("elicitation",))


def _roster(counter: Counter) -> Roster:
    return counter.desk._roster


def _scopes(roster: Roster) -> bool:
    return roster.is_for_one_scope


async def test_a_call_is_in_all_tables_or_in_none(legacy: Counter, new_caller: type[Caller]) -> None:
    roster = _roster(legacy)
    assert _scopes(roster) is False
    caller = legacy.call(new_caller(context=ROUNDS))
    call = await legacy.arrival()
    assert not roster.exchanges  # nobody asked anything yet
    [exchange] = [entry.as_exchange() for entry in roster.entries.values()]
    assert list(roster.exchanges) == [exchange]
    assert roster.that_waits_for(call["id"]) is exchange
    assert list(roster.entries) == [caller.inbound]
    assert _scopes(roster) is True
    legacy.plugin.say({"id": "q", "method": "elicitation/create", "params": {"message": "m"}})
    await caller.take(Kind.RESULT)
    assert list(roster.entries) == [exchange]  # parked: it stands there under its own name
    assert _scopes(roster) is True
    legacy.plugin.say({"id": call["id"], "result": {}})
    exchange.overdue()
    assert not roster.entries
    assert not roster.exchanges
    assert roster.that_waits_for(call["id"]) is None
    assert not roster.waits(exchange)


def test_what_was_withdrawn_counts_until_its_time_is_over() -> None:
    now = [100.0]
    roster = Roster(lambda: now[0])
    roster.entries[cast("Inbound", "a")] = cast("Entry", SimpleNamespace(scope="s1"))
    roster.leave_behind(1, "s1", 60.0)
    assert _scopes(roster) is True, "the same client"
    roster.leave_behind(2, "s2", 5.0)
    assert _scopes(roster) is False
    now[0] += 5.0
    assert _scopes(roster) is True
    for ident in range(3, 3 + MAX_LEFT):  # bounded, and then nobody is guessed at
        roster.leave_behind(ident, "s1", 5.0)
    assert _scopes(roster) is False
    now[0] += 5.0
    assert _scopes(roster) is True
    roster.leave_behind(1, "", 5.0)
    assert _scopes(roster) is False, "anybody's"
    roster.answered_late("1")
    assert _scopes(roster) is False
    roster.answered_late(1)
    assert _scopes(roster) is True


async def test_other_scopes_and_calls_without_one_are_noticed(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    roster = _roster(legacy)
    for context in (STREAM, None):
        first = legacy.call(new_caller(context=ROUNDS))
        assert _scopes(roster) is True
        other = legacy.call(new_caller(context=context))
        assert _scopes(roster) is False
        await legacy.arrival()
        call = await legacy.arrival()
        legacy.desk.cancel(other.inbound)
        assert _scopes(roster) is False  # the plugin may not have heard of it yet
        legacy.plugin.say({"id": call["id"], "result": {}})
        await asyncio.sleep(0)
        assert _scopes(roster) is True
        legacy.desk.cancel(first.inbound)
        roster.begin_anew()
    legacy.call(new_caller(context=CallContext()))
    assert _scopes(roster) is False
