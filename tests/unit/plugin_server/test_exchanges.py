from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sekisho.plugin_server.handles import MAX_OPEN_PER_SCOPE
from sekisho.wire import AnswerFrame, CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

STREAM = CallContext(scope="s1", style="stream", may_ask=("elicitation",))
ROUNDS = CallContext(scope="s1", may_ask=("elicitation",))
ASKS: dict[str, Any] = {"id": "q", "method": "elicitation/create", "params": {"message": "m"}}
ACCEPT = b'{"action":"accept"}'


async def _asked(legacy: Counter, caller: Caller) -> str:
    legacy.call(caller)
    await legacy.arrival()
    legacy.plugin.say(ASKS)
    ask: str = (await caller.take(Kind.ASK))["ask"]
    return ask


async def _parked(legacy: Counter, caller: Caller) -> str:
    legacy.call(caller)
    await legacy.arrival()
    legacy.plugin.say(ASKS)
    state: str = (await caller.take(Kind.RESULT))["requestState"]
    return state


def _round(state: str, scope: str = "s1", responses: bytes = b'{"q1":{"action":"accept"}}') -> CallContext:
    return msgspec.structs.replace(
        ROUNDS, scope=scope, request_state=state, input_responses=msgspec.Raw(responses)
    )


@pytest.mark.threat("T-CROSS")
async def test_an_answer_of_another_scope_or_to_another_question_is_dropped_and_counted(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    ask = await _asked(legacy, new_caller(context=STREAM))
    legacy.answer("s2", ask, result={"action": "accept"})
    legacy.answer("s1", ask + "x", result={"action": "accept"})
    assert legacy.desk._exchanges.unknown_answers == 2
    assert legacy.plugin.arrivals.empty()
    legacy.answer("s1", ask, result={"action": "accept"})
    assert (await legacy.response())["id"] == "q"
    legacy.answer("s1", ask, result={"action": "accept"})
    assert legacy.desk._exchanges.unknown_answers == 3


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    ("result", "error"),
    [(b"", b""), (ACCEPT, b'{"code":1,"message":"x"}'), (b"[]", b""), (b'{"a":1,"a":2}', b""), (b"{", b"")],
)
async def test_an_answer_that_is_none_leaves_the_question_open(
    legacy: Counter, new_caller: type[Caller], result: bytes, error: bytes
) -> None:
    ask = await _asked(legacy, new_caller(context=STREAM))
    legacy.desk.answer(AnswerFrame("s1", ask, msgspec.Raw(result), msgspec.Raw(error)))
    assert legacy.plugin.arrivals.empty()
    legacy.answer("s1", ask, result=json.loads(ACCEPT))
    assert (await legacy.response())["result"] == json.loads(ACCEPT)


@pytest.mark.threat("T-PARSER")
async def test_an_answer_cannot_be_a_second_message_to_the_plugin(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    ask = await _asked(legacy, new_caller(context=STREAM))
    sent: list[bytes] = []
    legacy.plugin.session.send = sent.append
    legacy.desk.answer(AnswerFrame("s1", ask, msgspec.Raw(b'{"action":\n"accept"}')))
    assert sent == [b'{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}']


@pytest.mark.threat("T-CROSS")
async def test_a_parked_call_is_carried_on_by_its_own_scope_and_operation_only_and_once(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    state = await _parked(legacy, new_caller(context=ROUNDS))
    assert await legacy.call(new_caller(context=_round(state, scope="s2"))).code() == "params_invalid"
    assert await legacy.call(new_caller("other", context=_round(state))).code() == "params_invalid"
    assert await legacy.call(new_caller(context=_round("x" + state))).code() == "params_invalid"
    own = legacy.call(new_caller(context=_round(state)))
    assert (await legacy.response())["result"] == json.loads(ACCEPT)
    assert await legacy.call(new_caller(context=_round(state))).code() == "params_invalid"
    assert own.heard.empty()


@pytest.mark.parametrize("responses", [b"[]", b'{"q1":{},"q1":{}}', b"7"])
async def test_answers_of_a_round_that_are_none_leave_the_call_parked(
    legacy: Counter, new_caller: type[Caller], responses: bytes
) -> None:
    state = await _parked(legacy, new_caller(context=ROUNDS))
    refused = legacy.call(new_caller(context=_round(state, responses=responses)))
    assert await refused.code() in ("params_invalid", "json_duplicate_key")
    legacy.call(new_caller(context=_round(state)))
    assert (await legacy.response())["id"] == "q"


@pytest.mark.parametrize("state", ["", "x", '{"state":7}'])
async def test_a_modern_plugin_s_state_that_we_did_not_give_is_refused(
    modern: Counter, new_caller: type[Caller], state: str
) -> None:
    assert await modern.call(new_caller(context=_round(state))).code() == "params_invalid"
    assert modern.plugin.arrivals.empty()


@pytest.mark.threat("T-FLOOD")
async def test_one_scope_cannot_hold_calls_of_the_plugin_without_bound(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    """Each parked call is the only one under way when it asks, as its stream names it."""
    for number in range(MAX_OPEN_PER_SCOPE + 1):
        caller = legacy.call(new_caller(context=ROUNDS))
        call = await legacy.arrival()
        legacy.plugin.say(ASKS | {"id": number}, of=call["id"])
        if number < MAX_OPEN_PER_SCOPE:
            await caller.take(Kind.RESULT)
    assert "too many" in (await legacy.response())["error"]["message"]
    assert caller.heard.empty()
    other = legacy.call(new_caller(context=msgspec.structs.replace(ROUNDS, scope="s2")))
    call = await legacy.arrival()
    legacy.plugin.say(ASKS, of=call["id"])
    await other.take(Kind.RESULT)


async def test_prompts_resources_and_completion_go_the_same_way(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    for method, params in (
        ("prompts/get", {"name": "p", "_meta": {"evil": 1}}),
        ("resources/read", {"uri": "ui://a"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}}),
    ):
        legacy.plugin.answers[method] = lambda params: None
        caller = legacy.call(new_caller(method, params, ROUNDS if method != "prompts/get" else None))
        request = await legacy.arrival(method)
        assert request["params"] == {name: value for name, value in params.items() if name != "_meta"}
        error = {"code": -32002, "message": "no", "data": {"uri": "x"}}
        legacy.plugin.say({"id": request["id"], "error": error})
        assert await caller.take(Kind.ERROR) == error
