from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sekisho.plugin_server.handles import MAX_OPEN_PER_SCOPE
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter, Plugin

MAY = ("elicitation", "roots")
STREAM = CallContext(scope="s1", style="stream", may_ask=MAY)
ROUNDS = CallContext(scope="c1", may_ask=MAY)
OURS = [("file:///data", "data")]
THEIRS = {"roots": [{"uri": "file:///data/mine", "name": "mine"}, {"uri": "file:///etc"}]}
NARROWED = {"roots": [{"uri": "file:///data/mine", "name": "mine"}]}
ASKS_ROOTS = {"id": "q", "method": "roots/list"}
ROOTS_REQUIRED = {
    "resultType": "input_required",
    "inputRequests": {"r": {"method": "roots/list", "params": {}}},
}


def _next_round(state: str, **responses: Any) -> CallContext:
    return msgspec.structs.replace(
        ROUNDS, request_state=state, input_responses=msgspec.Raw(json.dumps(responses).encode())
    )


@pytest.fixture(autouse=True)
def granted(silent: Plugin) -> None:
    silent.session.roots = OURS
    silent.session.may_ask = MAY


async def test_roots_of_a_client_reach_an_old_plugin_narrowed_from_its_stream(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    await legacy.arrival()
    legacy.plugin.say(ASKS_ROOTS)
    ask = await caller.take(Kind.ASK)
    assert ask["method"] == "roots/list"
    legacy.answer("s1", ask["ask"], result=THEIRS)
    assert (await legacy.response())["result"] == NARROWED


async def test_and_from_its_rounds(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=ROUNDS))
    await legacy.arrival()
    legacy.plugin.say(ASKS_ROOTS)
    required = await caller.take(Kind.RESULT)
    [key] = required["inputRequests"]
    legacy.call(new_caller(context=_next_round(required["requestState"], **{key: THEIRS})))
    assert (await legacy.response())["result"] == NARROWED


async def test_a_client_that_may_not_be_asked_for_its_roots_leaves_ours(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    legacy.plugin.say(ASKS_ROOTS)
    assert (await legacy.response())["result"]["roots"] == [{"uri": "file:///data", "name": "data"}]
    caller = legacy.call(new_caller(context=CallContext(scope="s", may_ask=("elicitation",))))
    await legacy.arrival()
    legacy.plugin.say(ASKS_ROOTS)
    assert (await legacy.response())["result"]["roots"] == [{"uri": "file:///data", "name": "data"}]
    assert caller.heard.empty()


async def test_and_a_new_plugin_narrowed_from_both_kinds_of_client(
    modern: Counter, new_caller: type[Caller]
) -> None:
    on_stream = modern.call(new_caller(context=STREAM))
    call = await modern.arrival()
    modern.plugin.say({"id": call["id"], "result": ROOTS_REQUIRED})
    ask = await on_stream.take(Kind.ASK)
    modern.answer("s1", ask["ask"], result=THEIRS)
    assert (await modern.arrival())["params"]["inputResponses"] == {"r": NARROWED}
    in_rounds = modern.call(new_caller(context=ROUNDS))
    call = await modern.arrival()
    modern.plugin.say({"id": call["id"], "result": ROOTS_REQUIRED})
    required = await in_rounds.take(Kind.RESULT)
    assert list(required["inputRequests"]) == ["r"]
    modern.call(new_caller(context=_next_round(required["requestState"], r=THEIRS)))
    assert (await modern.arrival())["params"]["inputResponses"] == {"r": NARROWED}
    modern.call(new_caller(context=_next_round(required["requestState"])))
    assert "inputResponses" not in (await modern.arrival())["params"]


@pytest.mark.threat("T-FLOOD")
async def test_a_new_plugin_that_asks_more_than_there_is_room_for_ends_its_call(
    modern: Counter, new_caller: type[Caller]
) -> None:
    callers = []
    form = {"method": "elicitation/create", "params": {"message": "m"}}
    questions = {str(number): form for number in range(MAX_OPEN_PER_SCOPE // 2)}
    for _ in range(3):
        callers.append(modern.call(new_caller(context=STREAM)))
        call = await modern.arrival()
        result = {"resultType": "input_required", "inputRequests": questions}
        modern.plugin.say({"id": call["id"], "result": result})
        await asyncio.sleep(0)
    assert await callers[2].code() == "busy"
    ask = await callers[0].take(Kind.ASK)
    modern.answer("s1", ask["ask"], result={"action": "accept"})
    assert modern.plugin.arrivals.empty()  # the others of its round are still open


async def test_a_question_of_an_old_plugin_that_cannot_be_read_is_refused(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    await legacy.arrival()
    legacy.plugin.session.receive(
        b'{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"a":1,"a":2}}'
    )
    assert "error" in await legacy.response()
    assert caller.heard.empty()
