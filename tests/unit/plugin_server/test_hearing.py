from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.plugin_server import hearing
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

MAY = ("elicitation", "elicitation/url")
ONE = CallContext(scope="s1", style="stream", may_ask=MAY)
TWO = CallContext(scope="s2", style="stream", may_ask=MAY)
ASKS: dict[str, Any] = {"id": "q", "method": "elicitation/create", "params": {"message": "secret of s1"}}


def _log(level: str = "error") -> dict[str, Any]:
    return {
        "method": "notifications/message",
        "params": {"level": level, "data": "secret", "_meta": {"a": 1}},
    }


async def _say(counter: Counter, members: dict[str, Any], of: int | None = None) -> None:
    counter.plugin.say(members, of)
    await asyncio.sleep(0)


@pytest.mark.threat("T-CROSS")
async def test_a_question_is_refused_while_two_clients_call(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    callers = [legacy.call(new_caller(context=context)) for context in (ONE, TWO)]
    await _say(legacy, ASKS)
    assert "names none" in (await legacy.response())["error"]["message"]
    assert all(caller.heard.empty() for caller in callers)
    assert legacy.desk.take_dropped() == {"questions": 1, "ambiguous": 1}


@pytest.mark.threat("T-CROSS")
async def test_a_question_is_refused_while_anybody_unknown_calls(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    callers = [legacy.call(new_caller(context=ONE)), legacy.call(new_caller())]
    await _say(legacy, ASKS)
    assert "error" in await legacy.response()
    assert all(caller.heard.empty() for caller in callers)


@pytest.mark.threat("T-CROSS")
@pytest.mark.parametrize("was_asked", [True, False])
async def test_what_a_plugin_still_asks_for_a_client_that_left_is_asked_of_nobody_else(
    legacy: Counter, new_caller: type[Caller], was_asked: bool
) -> None:
    left = legacy.call(new_caller(context=ONE))
    call = await legacy.arrival()
    if was_asked:
        await _say(legacy, ASKS)
        await left.take(Kind.ASK)
    legacy.desk.cancel(left.inbound)
    other = legacy.call(new_caller(context=TWO))
    for members in (ASKS | {"id": "r"}, _log()):
        await _say(legacy, members)
    assert other.heard.empty()
    assert legacy.desk.take_dropped() == {"questions": 1, "ambiguous": 1, "events": 1}
    # Once it has answered, it is at work for nobody else.
    await _say(legacy, {"id": call["id"], "error": {"code": 0, "message": "Request cancelled"}})
    await _say(legacy, _log())
    await other.take(Kind.EVENT)
    await _say(legacy, ASKS | {"id": "s"})
    await other.take(Kind.ASK)


async def test_a_client_that_left_a_call_is_asked_in_its_next_one(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    legacy.desk.cancel(legacy.call(new_caller(context=ONE)).inbound)
    again = legacy.call(new_caller(context=ONE))
    await _say(legacy, ASKS)
    await again.take(Kind.ASK)


async def test_the_stream_a_question_came_on_names_its_call(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    one, two = [legacy.call(new_caller(context=context)) for context in (ONE, TWO)]
    await legacy.arrival()
    call = await legacy.arrival()
    await _say(legacy, ASKS, of=call["id"])
    assert (await two.take(Kind.ASK))["method"] == "elicitation/create"
    assert one.heard.empty()


async def test_the_stream_of_nobody_s_call_names_nobody(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=ONE))
    await _say(legacy, ASKS, of=987)
    assert "error" in await legacy.response()
    assert caller.heard.empty()


async def test_a_question_goes_to_the_call_that_is_not_asking_already(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    first = legacy.call(new_caller(context=ONE))
    await _say(legacy, ASKS)
    await first.take(Kind.ASK)
    second = legacy.call(new_caller(context=ONE))
    await _say(legacy, ASKS | {"id": "r"})
    await second.take(Kind.ASK)
    assert first.heard.empty()


async def test_two_calls_of_one_client_that_could_both_be_meant_are_not_guessed_at(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    for _ in range(2):
        legacy.call(new_caller(context=ONE))
    await _say(legacy, ASKS)
    assert "error" in await legacy.response()


async def test_a_question_without_any_call_is_refused(legacy: Counter) -> None:
    await _say(legacy, ASKS)
    assert (await legacy.response())["error"]["code"] == -32601


async def test_a_log_line_reaches_the_only_call_whose_level_admits_it(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    context = CallContext(scope="c", log_level="warning")
    caller = legacy.call(new_caller(context=context))
    await _say(legacy, _log("info"))
    await _say(legacy, _log("warning"))
    event = await caller.take(Kind.EVENT)
    assert event == {"method": "notifications/message", "params": {"level": "warning", "data": "secret"}}
    assert caller.heard.empty()


@pytest.mark.parametrize(
    ("context", "hears"),
    [
        (CallContext(scope="c"), False),  # a modern call opts in
        (CallContext(scope="c", log_level="debug"), True),
        (CallContext(scope="c", log_level="loud"), False),
        (CallContext(scope="c", style="stream"), True),  # a legacy client is told of "info" from the start
    ],
)
async def test_who_said_no_level_hears_what_its_era_expects(
    legacy: Counter, new_caller: type[Caller], context: CallContext, hears: bool
) -> None:
    caller = legacy.call(new_caller(context=context))
    await _say(legacy, _log("info"))
    assert caller.heard.empty() is not hears


@pytest.mark.threat("T-CROSS")
async def test_a_log_line_is_dropped_while_two_clients_call(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    callers = [legacy.call(new_caller(context=context)) for context in (ONE, TWO)]
    listener = legacy.call(new_caller("subscriptions/listen", {"scope": True}, TWO))
    await listener.take(Kind.EVENT)
    await _say(legacy, _log())
    assert all(caller.heard.empty() for caller in (*callers, listener))
    assert legacy.desk._hearing.counters.events == 1


async def test_over_http_the_stream_says_whose_log_line_it_is(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    one, two = [legacy.call(new_caller(context=context)) for context in (ONE, TWO)]
    call = await legacy.arrival()
    await _say(legacy, _log(), of=call["id"])
    await one.take(Kind.EVENT)
    assert two.heard.empty()


@pytest.mark.threat("T-CROSS")
async def test_over_http_a_log_line_of_an_answered_call_is_nobodys(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    one = legacy.call(new_caller(context=ONE))
    answered = await legacy.arrival()
    await _say(legacy, {"id": answered["id"], "result": {}})
    await one.take(Kind.RESULT)
    two = legacy.call(new_caller(context=TWO))
    call = await legacy.arrival()
    await _say(legacy, _log(), of=answered["id"])
    assert two.heard.empty()
    assert legacy.desk._hearing.counters.events == 1
    await _say(legacy, _log(), of=call["id"])
    await two.take(Kind.EVENT)


async def test_a_log_line_of_two_calls_of_one_client_goes_where_that_client_listens(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    callers = [legacy.call(new_caller(context=ONE)) for _ in range(2)]
    await _say(legacy, _log())
    await callers[1].take(Kind.EVENT)  # the newest, as nobody listens
    listener = legacy.call(new_caller("subscriptions/listen", {"scope": True}, ONE))
    await listener.take(Kind.EVENT)
    await _say(legacy, _log())
    assert (await listener.take(Kind.EVENT))["params"]["data"] == "secret"
    assert all(caller.heard.empty() for caller in callers)


@pytest.mark.threat("T-CROSS")
async def test_between_calls_only_a_client_alone_with_the_plugin_hears_its_log(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    listener = legacy.call(new_caller("subscriptions/listen", {"scope": True}, ONE))
    await listener.take(Kind.EVENT)
    await _say(legacy, _log("debug"))
    await _say(legacy, _log("info"))
    assert (await listener.take(Kind.EVENT))["params"]["level"] == "info"
    other = legacy.call(new_caller(context=TWO))
    call = await legacy.arrival()
    await _say(legacy, {"id": call["id"], "result": {}})
    await other.take(Kind.RESULT)
    await _say(legacy, _log())
    assert listener.heard.empty()


@pytest.mark.threat("T-CROSS")
async def test_a_call_of_somebody_unknown_silences_the_log_between_calls(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    listener = legacy.call(new_caller("subscriptions/listen", {"scope": True}, ONE))
    await listener.take(Kind.EVENT)
    unknown = legacy.call(new_caller())
    call = await legacy.arrival()
    await _say(legacy, {"id": call["id"], "result": {}})
    await unknown.take(Kind.RESULT)
    await _say(legacy, _log())
    assert listener.heard.empty()


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("params", [{}, {"level": "loud"}, {"level": 7}, {"level": ["error"]}])
async def test_a_log_line_without_a_level_is_none(
    legacy: Counter, new_caller: type[Caller], params: dict[str, Any]
) -> None:
    caller = legacy.call(new_caller(context=ONE))
    await _say(legacy, {"method": "notifications/message", "params": params})
    await _say(legacy, {"method": "notifications/unheard/of", "params": params})
    assert caller.heard.empty()
    assert legacy.desk._hearing.counters.events == 2


@pytest.mark.interpreted
async def test_the_client_that_was_sent_to_a_url_hears_when_it_is_done(
    legacy: Counter, new_caller: type[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "MAX_ELICITATIONS", 3)
    caller = legacy.call(new_caller(context=ONE))
    for number in range(5):
        params = {"mode": "url", "message": "m", "url": "https://a/", "elicitationId": f"e{number}"}
        await _say(legacy, ASKS | {"id": number, "params": params})
        await caller.take(Kind.ASK)
    for number in (0, 4, 4):  # one that is forgotten, one that is known, once
        done = {"method": "notifications/elicitation/complete", "params": {"elicitationId": f"e{number}"}}
        await _say(legacy, done)
    event = await caller.take(Kind.EVENT)
    assert event["params"] == {"elicitationId": "e4"}
    assert caller.heard.empty()


async def test_a_listener_hears_of_a_url_when_its_call_is_over(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    listener = legacy.call(new_caller("subscriptions/listen", {"scope": True}, ONE))
    await listener.take(Kind.EVENT)
    caller = legacy.call(new_caller(context=ONE))
    call = await legacy.arrival()
    elicitation = {"mode": "url", "message": "m", "url": "https://a/", "elicitationId": "e"}
    error = {"code": -32042, "message": "visit", "data": {"elicitations": [elicitation]}}
    await _say(legacy, {"id": call["id"], "error": error})
    await caller.take(Kind.ERROR)
    await _say(legacy, {"method": "notifications/elicitation/complete", "params": {"elicitationId": "e"}})
    assert (await listener.take(Kind.EVENT))["params"] == {"elicitationId": "e"}
