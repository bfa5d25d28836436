from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sekisho.plugin_server import exchange
from sekisho.plugin_server.dialogue import MAX_ROUNDS
from sekisho.plugin_server.exchange import MAX_EVENTS, MAX_HELD_BYTES
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

ALL = ("elicitation", "elicitation/url", "sampling", "sampling/tools")
STREAM = CallContext(scope="s1", style="stream", may_ask=ALL)
ROUNDS = CallContext(scope="c1", style="rounds", may_ask=ALL)
FORM = {"message": "name?", "requestedSchema": {"type": "object", "properties": {}}}
ACCEPT = {"action": "accept", "content": {"name": "x"}}
SHORT_S = 0.02


def _asks(params: dict[str, Any] = FORM, ident: object = "q1", method: str = "elicitation/create") -> Any:
    return {"id": ident, "method": method, "params": params}


def _next_round(state: str, **responses: Any) -> CallContext:
    return msgspec.structs.replace(
        ROUNDS, request_state=state, input_responses=msgspec.Raw(json.dumps(responses).encode())
    )


def _input_required(state: str | None = None, **requests: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"resultType": "input_required"}
    if requests:
        result["inputRequests"] = requests
    return result if state is None else result | {"requestState": state}


ELICIT = {"method": "elicitation/create", "params": FORM}
ROOTS = {"method": "roots/list", "params": {}}


# a client asked on its stream, and a legacy plugin


async def test_a_question_of_a_legacy_plugin_reaches_the_client_and_its_answer_the_plugin(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    legacy.plugin.say(_asks())
    ask = await caller.take(Kind.ASK)
    assert (ask["method"], ask["params"]) == ("elicitation/create", FORM)
    legacy.answer("s1", ask["ask"], result=ACCEPT)
    assert await legacy.response() == {"jsonrpc": "2.0", "id": "q1", "result": ACCEPT}
    legacy.plugin.say({"id": call["id"], "result": {"content": []}})
    assert await caller.take(Kind.RESULT) == {"content": []}


async def test_an_error_of_the_client_is_the_plugin_s_to_understand(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    await legacy.arrival()
    legacy.plugin.say(_asks({"messages": [], "maxTokens": 1}, method="sampling/createMessage"))
    ask = await caller.take(Kind.ASK)
    error = {"code": -1, "message": "the user said no"}
    legacy.answer("s1", ask["ask"], error=error)
    assert (await legacy.response())["error"] == error


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    ("may_ask", "question"),
    [
        ((), _asks()),
        (("elicitation",), _asks(FORM | {"mode": "url", "url": "https://a/"})),
        (("elicitation/url",), _asks()),
        (("elicitation",), _asks({"messages": []}, method="sampling/createMessage")),
        (("sampling",), _asks({"messages": [], "tools": []}, method="sampling/createMessage")),
        (ALL, _asks({}, method="tools/call")),
        (ALL, _asks(FORM | {"mode": "other"})),
    ],
)
async def test_what_a_client_may_not_be_asked_is_refused_to_the_plugin(
    legacy: Counter, new_caller: type[Caller], may_ask: tuple[str, ...], question: dict[str, Any]
) -> None:
    caller = legacy.call(new_caller(context=CallContext(scope="s1", style="stream", may_ask=may_ask)))
    await legacy.arrival()
    legacy.plugin.say(question)
    assert (await legacy.response())["error"]["code"] == -32601
    assert caller.heard.empty()


async def test_without_a_scope_nobody_can_be_asked(legacy: Counter, new_caller: type[Caller]) -> None:
    legacy.call(new_caller(context=CallContext(style="stream", may_ask=ALL)))
    await legacy.arrival()
    legacy.plugin.say(_asks())
    assert "error" in await legacy.response()


@pytest.mark.threat("T-FLOOD")
async def test_a_plugin_that_asks_without_end_is_refused(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    await legacy.arrival()
    for number in range(MAX_ROUNDS):
        legacy.plugin.say(_asks(ident=number))
        ask = await caller.take(Kind.ASK)
        legacy.answer("s1", ask["ask"], result=ACCEPT)
        assert (await legacy.response())["id"] == number
    legacy.plugin.say(_asks(ident="more"))
    assert "error" in await legacy.response()


async def test_a_question_that_the_plugin_takes_back_is_no_longer_open(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    legacy.plugin.say(_asks())
    ask = await caller.take(Kind.ASK)
    legacy.plugin.say({"method": "notifications/cancelled", "params": {"requestId": "q1"}})
    legacy.plugin.say({"id": call["id"], "result": {}})
    await caller.take(Kind.RESULT)
    heard = len(legacy.plugin.heard)
    legacy.answer("s1", ask["ask"], result=ACCEPT)
    assert len(legacy.plugin.heard) == heard


async def test_the_execution_time_does_not_run_while_somebody_is_asked(
    legacy: Counter, new_caller: type[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_ASKING_S", 4 * SHORT_S)
    asked = legacy.call(new_caller(context=STREAM, timeout_s=SHORT_S))
    await legacy.arrival()
    legacy.plugin.say(_asks())
    await asked.take(Kind.ASK)
    began = asyncio.get_running_loop().time()
    assert "nobody answered" in (await asked.take(Kind.FAILURE))["message"]
    assert asyncio.get_running_loop().time() - began > 2 * SHORT_S
    assert legacy.hangs.empty()  # the plugin waited for a person, and is not at fault
    assert (await legacy.response())["id"] == "q1"
    busy = legacy.call(new_caller(context=STREAM, timeout_s=SHORT_S))
    assert "took longer" in (await busy.take(Kind.FAILURE))["message"]
    assert not legacy.hangs.empty()


async def test_a_withdrawn_call_leaves_no_question_open(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    legacy.plugin.say(_asks())
    ask = await caller.take(Kind.ASK)
    caller.inbound.close()
    legacy.desk.cancel(caller.inbound)
    cancelled = await legacy.arrival("notifications/cancelled")
    assert cancelled["params"]["requestId"] == call["id"]
    refused = await legacy.response()
    assert (refused["id"], "error" in refused) == ("q1", True)
    heard = len(legacy.plugin.heard)
    legacy.answer("s1", ask["ask"], result=ACCEPT)
    assert len(legacy.plugin.heard) == heard


# a client asked in rounds, and a legacy plugin


async def test_a_question_parks_the_call_and_the_next_round_carries_it_on(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    first = legacy.call(new_caller(context=ROUNDS))
    call = await legacy.arrival()
    legacy.plugin.say(_asks())
    required = await first.take(Kind.RESULT)
    assert required["resultType"] == "input_required"
    [(key, question)] = required["inputRequests"].items()
    assert question == ELICIT
    second = legacy.call(new_caller(context=_next_round(required["requestState"], **{key: ACCEPT})))
    assert await legacy.response() == {"jsonrpc": "2.0", "id": "q1", "result": ACCEPT}
    legacy.plugin.say({"id": call["id"], "result": {"content": []}})
    assert await second.take(Kind.RESULT) == {"content": []}
    assert len([1 for message in legacy.plugin.heard if message.get("method") == "tools/call"]) == 1


async def test_several_questions_take_several_rounds(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=ROUNDS))
    call = await legacy.arrival()
    for number in range(3):
        legacy.plugin.say(_asks(ident=number))
        required = await caller.take(Kind.RESULT)
        [key] = required["inputRequests"]
        caller = legacy.call(new_caller(context=_next_round(required["requestState"], **{key: ACCEPT})))
        assert (await legacy.response())["id"] == number
    legacy.plugin.say({"id": call["id"], "result": {}})
    assert await caller.take(Kind.RESULT) == {}


async def test_a_question_that_comes_while_the_call_is_parked_is_the_next_round(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    first = legacy.call(new_caller(context=ROUNDS))
    await legacy.arrival()
    legacy.plugin.say(_asks(ident=1))
    required = await first.take(Kind.RESULT)
    [key] = required["inputRequests"]
    legacy.plugin.say(_asks(ident=2))
    await asyncio.sleep(0)  # the second question arrives
    second = legacy.call(new_caller(context=_next_round(required["requestState"], **{key: ACCEPT})))
    assert (await legacy.response())["id"] == 1
    [key] = (await second.take(Kind.RESULT))["inputRequests"]
    assert key not in required["inputRequests"]


async def test_questions_that_come_together_are_one_round(legacy: Counter, new_caller: type[Caller]) -> None:
    first = legacy.call(new_caller(context=ROUNDS))
    await legacy.arrival()
    for number in range(3):
        legacy.plugin.say(_asks(ident=number))
    required = await first.take(Kind.RESULT)
    assert len(required["inputRequests"]) == 3
    answers = dict.fromkeys(required["inputRequests"], ACCEPT)
    legacy.call(new_caller(context=_next_round(required["requestState"], **answers)))
    assert [(await legacy.response())["id"] for _ in range(3)] == [0, 1, 2]


async def test_a_question_left_out_is_asked_again(legacy: Counter, new_caller: type[Caller]) -> None:
    first = legacy.call(new_caller(context=ROUNDS))
    await legacy.arrival()
    legacy.plugin.say(_asks())
    required = await first.take(Kind.RESULT)
    second = legacy.call(new_caller(context=_next_round(required["requestState"])))
    again = await second.take(Kind.RESULT)
    assert again["inputRequests"] == required["inputRequests"]
    assert again["requestState"] != required["requestState"]


async def test_a_result_that_comes_while_the_call_is_parked_waits_for_the_next_round(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    first = legacy.call(new_caller(context=ROUNDS))
    call = await legacy.arrival()
    legacy.plugin.say(_asks())
    required = await first.take(Kind.RESULT)
    legacy.plugin.say({"id": call["id"], "result": {"content": [], "early": True}})
    await asyncio.sleep(0)
    second = legacy.call(new_caller(context=_next_round(required["requestState"], q1=ACCEPT)))
    assert (await second.take(Kind.RESULT))["early"] is True


@pytest.mark.threat("T-FLOOD")
async def test_a_large_result_is_not_held_for_somebody_who_may_never_come(
    legacy: Counter, new_caller: type[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_HELD_BYTES", 100)
    assert MAX_HELD_BYTES > 100
    first = legacy.call(new_caller(context=ROUNDS))
    call = await legacy.arrival()
    legacy.plugin.say(_asks())
    required = await first.take(Kind.RESULT)
    legacy.plugin.say({"id": call["id"], "result": {"text": "x" * 200}})
    await asyncio.sleep(0)
    second = legacy.call(new_caller(context=_next_round(required["requestState"], q1=ACCEPT)))
    assert await second.code() == "result_too_large"


@pytest.mark.threat("T-HANG")
async def test_a_parked_call_that_nobody_carries_on_ends_and_the_plugin_lives(
    legacy: Counter, new_caller: type[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_PARKED_S", SHORT_S)
    first = legacy.call(new_caller(context=ROUNDS))
    await legacy.arrival()
    legacy.plugin.say(_asks())
    required = await first.take(Kind.RESULT)
    await legacy.arrival("notifications/cancelled")
    assert (await legacy.response())["id"] == "q1"
    late = legacy.call(new_caller(context=_next_round(required["requestState"], q1=ACCEPT)))
    assert await late.code() == "params_invalid"
    assert legacy.hangs.empty()


async def test_urls_that_a_legacy_plugin_requires_are_asked_in_a_round(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    error = {
        "code": -32042,
        "message": "visit",
        "data": {
            "elicitations": [{"mode": "url", "message": "m", "url": "https://a/", "elicitationId": "e"}]
        },
    }
    in_rounds = legacy.call(new_caller(context=ROUNDS))
    call = await legacy.arrival()
    legacy.plugin.say({"id": call["id"], "error": error})
    required = await in_rounds.take(Kind.RESULT)
    assert required["inputRequests"] == {
        "url-1": {
            "method": "elicitation/create",
            "params": {"mode": "url", "message": "m", "url": "https://a/"},
        }
    }
    on_stream = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    legacy.plugin.say({"id": call["id"], "error": error})
    assert await on_stream.take(Kind.ERROR) == error
    cannot = legacy.call(new_caller(context=CallContext(scope="c2", may_ask=("elicitation",))))
    call = await legacy.arrival()
    legacy.plugin.say({"id": call["id"], "error": error})
    assert await cannot.take(Kind.ERROR) == error


# a client asked in rounds, and a modern plugin


async def test_a_question_of_a_modern_plugin_passes_through_with_its_state(
    modern: Counter, new_caller: type[Caller]
) -> None:
    first = modern.call(new_caller(context=ROUNDS))
    call = await modern.arrival()
    modern.plugin.say({"id": call["id"], "result": _input_required("theirs", a=ELICIT)})
    required = await first.take(Kind.RESULT)
    assert required["inputRequests"] == {"a": ELICIT}
    second = modern.call(new_caller(context=_next_round(required["requestState"], a=ACCEPT)))
    params = (await modern.arrival())["params"]
    assert (params["requestState"], params["inputResponses"]) == ("theirs", {"a": ACCEPT})
    assert params["arguments"] == {"x": 1}
    modern.plugin.say({"id": call["id"] + 1, "result": {"resultType": "complete"}})
    assert await second.take(Kind.RESULT) == {"resultType": "complete"}


async def test_roots_never_leave_the_plugin_server(modern: Counter, new_caller: type[Caller]) -> None:
    modern.plugin.session.roots = [("file:///data", "data")]
    roots = {"roots": [{"uri": "file:///data", "name": "data"}]}
    first = modern.call(new_caller(context=ROUNDS))
    call = await modern.arrival()
    modern.plugin.say({"id": call["id"], "result": _input_required(r=ROOTS)})  # nobody else is asked
    again = await modern.arrival()
    assert again["params"]["inputResponses"] == {"r": roots}
    modern.plugin.say({"id": again["id"], "result": _input_required("s", r=ROOTS, a=ELICIT)})
    required = await first.take(Kind.RESULT)
    assert list(required["inputRequests"]) == ["a"]
    modern.call(new_caller(context=_next_round(required["requestState"], a=ACCEPT)))
    params = (await modern.arrival())["params"]
    assert (params["requestState"], params["inputResponses"]) == ("s", {"a": ACCEPT, "r": roots})


async def test_the_capabilities_of_a_call_are_exactly_what_its_client_may_be_asked(
    modern: Counter, new_caller: type[Caller]
) -> None:
    contexts = [
        CallContext(scope="c", may_ask=("elicitation",)),
        CallContext(scope="c", may_ask=("elicitation", "elicitation/url", "sampling", "sampling/tools")),
        CallContext(may_ask=ALL),
        None,
    ]
    stated = []
    for context in contexts:
        modern.call(new_caller(context=context))
        stated.append(
            (await modern.arrival())["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        )
    assert stated == [
        {"elicitation": {"form": {}}},
        {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}},
        {},
        {},
    ]


async def test_the_client_s_own_meta_is_carried_and_cannot_stand_in_for_ours(
    modern: Counter, new_caller: type[Caller]
) -> None:
    meta = {"traceparent": "00-1", "progressToken": 9, "io.modelcontextprotocol/protocolVersion": "1999"}
    context = CallContext(scope="c", meta=msgspec.Raw(json.dumps(meta).encode()), log_level="debug")
    modern.call(new_caller(context=context))
    stated = (await modern.arrival())["params"]["_meta"]
    assert stated["traceparent"] == "00-1"
    assert "progressToken" not in stated
    assert stated["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert stated["io.modelcontextprotocol/logLevel"] == "debug"


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "result",
    [
        _input_required(a={"method": "sampling/createMessage", "params": {}}),
        _input_required(a={"method": "tools/call", "params": {}}),
        _input_required(a={"method": 7}),
        _input_required(a={"method": "elicitation/create", "params": []}),
        _input_required(None, **{str(number): ELICIT for number in range(100)}),
        {"resultType": "input_required", "requestState": 7},
    ],
)
async def test_a_modern_plugin_that_asks_what_it_may_not_breaks_the_protocol(
    modern: Counter, new_caller: type[Caller], result: dict[str, Any]
) -> None:
    for style in ("rounds", "stream"):
        context = CallContext(scope="c", may_ask=("elicitation",), style=style)
        caller = modern.call(new_caller(context=context))
        call = await modern.arrival()
        modern.plugin.say({"id": call["id"], "result": result})
        assert await caller.code() == "plugin_protocol"


@pytest.mark.threat("T-PARSER")
async def test_a_question_that_two_readers_read_differently_is_none(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller(context=ROUNDS))
    call = await modern.arrival()
    modern.plugin.session.receive(
        b'{"jsonrpc":"2.0","id":%d,"result":{"resultType":"complete","resultType":"input_required"}}'
        % call["id"]
    )
    assert await caller.code() == "plugin_protocol"


# a client asked on its stream, and a modern plugin


async def test_questions_of_a_modern_plugin_are_asked_on_the_stream_and_collected(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller(context=STREAM, wants_progress=True))
    call = await modern.arrival()
    sample = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
    modern.plugin.say({"id": call["id"], "result": _input_required("s", a=ELICIT, b=sample, r=ROOTS)})
    asks = [await caller.take(Kind.ASK) for _ in range(2)]
    assert [ask["method"] for ask in asks] == ["elicitation/create", "sampling/createMessage"]
    modern.answer("s1", asks[1]["ask"], result={"role": "assistant"})
    modern.answer("s1", asks[0]["ask"], error={"code": -1, "message": "no"})
    again = await modern.arrival()
    assert again["params"]["requestState"] == "s"
    assert again["params"]["inputResponses"] == {
        "a": {"action": "cancel"},
        "b": {"role": "assistant"},
        "r": {"roots": []},
    }
    token = again["params"]["_meta"]["progressToken"]
    modern.plugin.say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    modern.plugin.say({"id": again["id"], "result": {"resultType": "complete"}})
    assert await caller.take(Kind.NOTE) == {"progress": 1}
    assert await caller.take(Kind.RESULT) == {"resultType": "complete"}


async def test_a_client_that_does_not_sample_ends_the_call(modern: Counter, new_caller: type[Caller]) -> None:
    caller = modern.call(new_caller(context=STREAM))
    call = await modern.arrival()
    sample = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
    modern.plugin.say({"id": call["id"], "result": _input_required(a=ELICIT, b=sample)})
    asks = [await caller.take(Kind.ASK) for _ in range(2)]
    modern.answer("s1", asks[1]["ask"], error={"code": -1, "message": "no"})
    assert await caller.code() == "cancelled"
    modern.answer("s1", asks[0]["ask"], result=ACCEPT)  # nobody asks that any more
    assert caller.heard.empty()


@pytest.mark.threat("T-HANG")
async def test_a_modern_plugin_that_always_asks_once_more_is_refused(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller(context=STREAM))
    for _ in range(MAX_ROUNDS + 1):
        call = await modern.arrival()
        modern.plugin.say({"id": call["id"], "result": _input_required("again")})
    assert await caller.code() == "plugin_protocol"


async def test_a_call_without_context_can_be_put_off_by_state_alone(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller())
    call = await modern.arrival()
    modern.plugin.say({"id": call["id"], "result": _input_required("later")})
    required = await caller.take(Kind.RESULT)
    modern.call(new_caller(context=CallContext(request_state=required["requestState"])))
    assert (await modern.arrival())["params"]["requestState"] == "later"
    asked = modern.call(new_caller())
    call = await modern.arrival()
    modern.plugin.say({"id": call["id"], "result": _input_required(a=ELICIT)})
    assert await asked.code() == "plugin_protocol"


# events


@pytest.mark.threat("T-FLOOD")
async def test_a_flood_of_events_is_bounded(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=STREAM))
    call = await legacy.arrival()
    line = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}'
    for _ in range(MAX_EVENTS + 5):
        legacy.plugin.session.receive(line)
    legacy.plugin.say({"id": call["id"], "result": {}})
    for _ in range(MAX_EVENTS):
        assert (await caller.take(Kind.EVENT))["params"] == {"level": "error", "data": 1}
    assert await caller.take(Kind.RESULT) == {}
    assert caller.heard.empty()
