from __future__ import annotations

from typing import TYPE_CHECKING

from sekisho.plugin_server.roster import Roster
from sekisho.wire import CallContext
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


async def test_other_scopes_and_calls_without_one_are_noticed(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    roster = _roster(legacy)
    for context in (STREAM, None):
        legacy.call(new_caller(context=ROUNDS))
        assert _scopes(roster) is True
        other = legacy.call(new_caller(context=context))
        assert _scopes(roster) is False
        legacy.desk.cancel(other.inbound)
        assert _scopes(roster) is True
    legacy.call(new_caller(context=CallContext()))
    assert _scopes(roster) is False
