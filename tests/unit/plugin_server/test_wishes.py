from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.plugin_server.scopes import MAX_URIS_PER_SCOPE
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

ONE = CallContext(scope="s1", style="stream")
TWO = CallContext(scope="s2", style="stream")


async def _set_level(counter: Counter, new_caller: type[Caller], level: str, context: CallContext) -> None:
    assert (
        await counter.call(new_caller("logging/setLevel", {"level": level}, context)).take(Kind.RESULT) == {}
    )
    await asyncio.sleep(0)  # the plugin answers


def _levels(counter: Counter) -> list[str]:
    heard = counter.plugin.heard
    return [message["params"]["level"] for message in heard if message.get("method") == "logging/setLevel"]


async def _log(counter: Counter, level: str) -> None:
    counter.plugin.say({"method": "notifications/message", "params": {"level": level, "data": 1}})
    await asyncio.sleep(0)


async def test_a_level_is_kept_for_each_scope_and_the_plugin_sends_what_any_of_them_wants(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    await _set_level(legacy, new_caller, "error", ONE)
    await _set_level(legacy, new_caller, "debug", TWO)
    await _set_level(legacy, new_caller, "warning", TWO)
    assert _levels(legacy) == ["info", "debug", "info"]  # never less than those hear who set nothing
    one = legacy.call(new_caller(context=ONE))
    for level in ("warning", "error"):
        await _log(legacy, level)
    assert (await one.take(Kind.EVENT))["params"]["level"] == "error"
    assert one.heard.empty()


async def test_one_call_that_wants_more_logs_is_given_them(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = legacy.call(new_caller(context=CallContext(scope="c", log_level="debug")))
    assert _levels(legacy) == ["debug"]
    await _log(legacy, "debug")
    await caller.take(Kind.EVENT)
    legacy.call(new_caller(context=CallContext(scope="c", log_level="error")))
    assert _levels(legacy) == ["debug"]


@pytest.mark.parametrize("level", ["loud", "", None, 7, ["debug"]])
async def test_a_level_that_is_none_is_refused(legacy: Counter, new_caller: type[Caller], level: Any) -> None:
    assert await legacy.call(new_caller("logging/setLevel", {"level": level}, ONE)).code() == "params_invalid"
    assert not _levels(legacy)


async def test_a_modern_plugin_is_told_the_level_with_every_call(
    modern: Counter, new_caller: type[Caller]
) -> None:
    await _set_level(modern, new_caller, "debug", ONE)
    assert not _levels(modern)
    modern.call(new_caller(context=ONE))
    assert (await modern.arrival())["params"]["_meta"]["io.modelcontextprotocol/logLevel"] == "debug"


async def test_a_resource_is_followed_once_upstream_and_the_plugin_says_whether_it_can(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    subscribe = ("resources/subscribe", {"uri": "u:1"})
    for context in (ONE, TWO, ONE):
        assert await legacy.call(new_caller(*subscribe, context)).take(Kind.RESULT) == {}
    await legacy.arrival("resources/subscribe")
    listener = legacy.call(new_caller("subscriptions/listen", {"scope": True}, TWO))
    await listener.take(Kind.EVENT)
    legacy.plugin.say({"method": "notifications/resources/updated", "params": {"uri": "u:1"}})
    assert (await listener.take(Kind.EVENT))["params"] == {"uri": "u:1"}
    for context in (ONE, TWO, TWO):
        assert (
            await legacy.call(new_caller("resources/unsubscribe", {"uri": "u:1"}, context)).take(Kind.RESULT)
            == {}
        )
    methods = [message.get("method", "") for message in legacy.plugin.heard]
    assert methods.count("resources/subscribe") == methods.count("resources/unsubscribe") == 1
    legacy.plugin.say({"method": "notifications/resources/updated", "params": {"uri": "u:1"}})
    await asyncio.sleep(0)
    assert listener.heard.empty()


async def test_a_resource_that_the_plugin_refuses_is_not_followed(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    del legacy.plugin.answers["resources/subscribe"]
    for _ in range(2):
        error = await legacy.call(new_caller("resources/subscribe", {"uri": "u:1"}, ONE)).take(Kind.ERROR)
        assert error == {"code": -32601, "message": "unknown"}


async def test_a_modern_plugin_is_subscribed_to_in_its_own_way(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller("resources/subscribe", {"uri": "u:1"}, ONE))
    request = await modern.arrival("subscriptions/listen")
    assert request["params"]["notifications"]["resourceSubscriptions"] == ["u:1"]
    assert caller.heard.empty()
    meta = {"io.modelcontextprotocol/subscriptionId": request["id"]}
    modern.plugin.say({"method": "notifications/subscriptions/acknowledged", "params": {"_meta": meta}})
    await caller.take(Kind.RESULT)


@pytest.mark.parametrize("params", [{}, {"uri": 7}, {"uri": ""}])
async def test_a_subscription_to_nothing_is_refused(
    legacy: Counter, new_caller: type[Caller], params: dict[str, Any]
) -> None:
    for method in ("resources/subscribe", "resources/unsubscribe"):
        assert await legacy.call(new_caller(method, params, ONE)).code() == "params_invalid"


async def test_without_a_scope_nothing_can_be_set(legacy: Counter, new_caller: type[Caller]) -> None:
    for method, params in (("resources/subscribe", {"uri": "u:1"}), ("logging/setLevel", {"level": "debug"})):
        assert await legacy.call(new_caller(method, params)).code() == "params_invalid"


@pytest.mark.threat("T-FLOOD")
async def test_one_scope_cannot_follow_without_bound(legacy: Counter, new_caller: type[Caller]) -> None:
    for number in range(MAX_URIS_PER_SCOPE):
        caller = legacy.call(new_caller("resources/subscribe", {"uri": f"u:{number}"}, ONE))
        await caller.take(Kind.RESULT)
    assert await legacy.call(new_caller("resources/subscribe", {"uri": "more"}, ONE)).code() == "busy"
