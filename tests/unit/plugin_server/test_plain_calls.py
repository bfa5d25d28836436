from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sekisho.plugin_server.exchange import MAX_EVENTS, Exchange
from sekisho.plugin_server.plain_call import PlainCall
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

STREAM = CallContext(scope="s1", style="stream", may_ask=("elicitation",))
QUESTION = {"id": "q1", "method": "elicitation/create", "params": {"message": "which?"}}


def _log(data: str, level: str = "warning") -> dict[str, object]:
    return {"method": "notifications/message", "params": {"level": level, "data": data}}


def _progress(token: int, progress: int) -> dict[str, object]:
    return {"method": "notifications/progress", "params": {"progressToken": token, "progress": progress}}


async def test_a_call_in_whose_midst_nothing_is_said_never_becomes_an_exchange(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    assert isinstance(legacy.desk._roster.entries[caller.inbound], PlainCall)
    legacy.plugin.say({"id": call["id"], "result": {"content": []}})
    assert await caller.take(Kind.RESULT) == {"content": []}
    assert not legacy.desk._roster.entries
    assert not legacy.desk._roster.exchanges


async def test_a_question_in_its_midst_is_answered_and_the_call_goes_on_with_the_same_request(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM, wants_progress=True))
    call = await legacy.arrival()
    legacy.plugin.say(_progress(call["id"], 1))
    assert await caller.take(Kind.NOTE) == {"progress": 1}
    legacy.plugin.say(QUESTION)
    ask = await caller.take(Kind.ASK)
    assert isinstance(legacy.desk._roster.entries[caller.inbound], Exchange)
    legacy.answer("s1", ask["ask"], result={"action": "decline"})
    assert (await legacy.response())["result"] == {"action": "decline"}
    legacy.plugin.say(_progress(call["id"], 2))
    assert await caller.take(Kind.NOTE) == {"progress": 2}
    legacy.plugin.say({"id": call["id"], "result": {"content": []}})
    assert await caller.take(Kind.RESULT) == {"content": []}
    assert not legacy.desk._roster.entries


async def test_it_keeps_its_turn_among_the_others(legacy: Counter, new_caller: type[Caller]) -> None:
    first, second = (legacy.call(new_caller(context=STREAM)) for _ in range(2))
    legacy.desk._roster.entries[first.inbound].as_exchange()
    assert list(legacy.desk._roster.entries) == [first.inbound, second.inbound]
    assert legacy.desk._roster.newest().inbound is second.inbound


async def test_it_keeps_its_deadline_when_it_becomes_an_exchange(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM, timeout_s=0.02))
    await legacy.arrival()
    legacy.plugin.say(_log("working"))
    await caller.take(Kind.EVENT)
    assert await caller.code() == "plugin_timeout"
    await asyncio.wait_for(legacy.hangs.get(), 5.0)
    assert (await legacy.arrival("notifications/cancelled"))["params"]["reason"] == "execution timeout"


@pytest.mark.threat("T-FLOOD")
async def test_log_lines_within_a_call_are_bounded_as_before(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    for _ in range(MAX_EVENTS + 5):
        legacy.plugin.say(_log("again"))
    legacy.plugin.say({"id": call["id"], "result": {}})
    kinds: list[Kind] = []
    while not kinds or kinds[-1] is not Kind.RESULT:
        kinds.append((await caller.next())[0])
    assert len(kinds) == MAX_EVENTS + 1
    assert legacy.desk.take_dropped() == {"events": 5}


async def test_a_level_that_its_client_sets_holds_for_the_next_call(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    for level, is_told in (("info", True), ("error", False), ("warning", True)):
        setting = legacy.call(new_caller("logging/setLevel", {"level": level}, STREAM))
        await setting.take(Kind.RESULT)
        caller = legacy.call(new_caller(context=STREAM))
        call = await legacy.arrival()
        legacy.plugin.say(_log("hm"))
        legacy.plugin.say({"id": call["id"], "result": {}})
        heard = [(await caller.next())[0]]
        if is_told:
            heard.append((await caller.next())[0])
        assert heard == [Kind.EVENT, Kind.RESULT][not is_told :]


async def test_a_modern_plugin_is_told_the_level_that_holds_now(
    modern: Counter, new_caller: type[Caller]
) -> None:
    for level in ("debug", "error"):
        setting = modern.call(new_caller("logging/setLevel", {"level": level}, STREAM))
        await setting.take(Kind.RESULT)
        caller = modern.call(new_caller(context=STREAM))
        call = await modern.arrival()
        assert call["params"]["_meta"]["io.modelcontextprotocol/logLevel"] == level
        modern.plugin.say({"id": call["id"], "result": {}})
        await caller.take(Kind.RESULT)


async def test_a_call_that_was_withdrawn_hears_of_no_late_question(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller(context=STREAM))
    call = await modern.arrival()
    entry = modern.desk._roster.entries[caller.inbound]
    modern.desk.cancel(caller.inbound)
    assert callable(entry)
    entry(b'{"resultType":"input_required","inputRequests":{}}')
    modern.plugin.say({"id": call["id"], "result": {}})
    await asyncio.sleep(0)
    assert caller.heard.empty()
    assert not modern.desk._roster.exchanges
