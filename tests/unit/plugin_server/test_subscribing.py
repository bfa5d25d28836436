from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.plugin_server import subscribing
from sekisho.plugin_server.subscribing import MAX_OPEN_LISTENS
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter, Plugin

ONE = CallContext(scope="s1", style="stream")
MODERN = CallContext(scope="c1")
LISTEN = "subscriptions/listen"


def _wish(*uris: str) -> dict[str, Any]:
    return {"notifications": {"toolsListChanged": True, "resourceSubscriptions": list(uris)}}


def _updated(uri: str) -> dict[str, Any]:
    meta = {"io.modelcontextprotocol/subscriptionId": 3}
    return {"method": "notifications/resources/updated", "params": {"uri": uri, "_meta": meta}}


def _asked(plugin: Plugin, method: str) -> list[Any]:
    return [message["params"] for message in plugin.heard if message.get("method") == method]


def _acknowledge(counter: Counter) -> None:
    ident = [message["id"] for message in counter.plugin.heard if message.get("method") == LISTEN][-1]
    params = {"notifications": {}, "_meta": {"io.modelcontextprotocol/subscriptionId": ident}}
    counter.plugin.say({"method": "notifications/subscriptions/acknowledged", "params": params})


async def test_the_plugin_is_asked_once_for_all_and_told_when_nobody_follows(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    callers = [legacy.call(new_caller(LISTEN, _wish("u:1"), MODERN)) for _ in range(3)]
    assert len(_asked(legacy.plugin, "resources/subscribe")) == 1
    for caller in callers:
        assert not _asked(legacy.plugin, "resources/unsubscribe")
        caller.inbound.close()
        legacy.desk.cancel(caller.inbound)
        legacy.desk.cancel(caller.inbound)
    assert [one["uri"] for one in _asked(legacy.plugin, "resources/unsubscribe")] == ["u:1"]


async def test_a_modern_plugin_has_one_subscription_that_is_replaced_without_a_gap(
    modern: Counter, new_caller: type[Caller]
) -> None:
    [first] = _asked(modern.plugin, LISTEN)
    assert first["notifications"] == {"toolsListChanged": True}
    _acknowledge(modern)
    await asyncio.sleep(0)
    caller = modern.call(new_caller(LISTEN, _wish("u:1"), MODERN))
    second = _asked(modern.plugin, LISTEN)[-1]
    assert second["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": ["u:1"]}
    other = modern.call(new_caller(LISTEN, _wish("u:2"), MODERN))  # before the second one stands
    third = _asked(modern.plugin, LISTEN)[-1]
    assert third["notifications"]["resourceSubscriptions"] == ["u:1", "u:2"]
    assert not _asked(modern.plugin, "notifications/cancelled")
    modern.plugin.say(_updated("u:1"))
    await asyncio.sleep(0)
    assert caller.heard.empty()  # nothing before the acknowledgement
    _acknowledge(modern)
    for one in (caller, other):
        assert "acknowledged" in (await one.take(Kind.EVENT))["method"]
    assert len(_asked(modern.plugin, "notifications/cancelled")) == 2
    modern.plugin.say(_updated("u:2"))
    assert (await other.take(Kind.EVENT))["params"] == {"uri": "u:2"}


@pytest.mark.threat("T-HANG")
async def test_a_modern_plugin_that_acknowledges_nothing_holds_nobody_up_for_long(
    modern: Counter, new_caller: type[Caller]
) -> None:
    callers = [modern.call(new_caller(LISTEN, _wish(f"u:{number}"), MODERN)) for number in range(9)]
    assert len(_asked(modern.plugin, LISTEN)) == MAX_OPEN_LISTENS
    assert all(caller.heard.empty() for caller in callers)
    modern.desk.refresh()
    for caller in callers:
        await caller.take(Kind.EVENT)
    _acknowledge(modern)
    await asyncio.sleep(0)
    newest = _asked(modern.plugin, LISTEN)[-1]["notifications"]
    assert len(newest["resourceSubscriptions"]) == 9


async def test_a_modern_plugin_that_ends_its_subscription_holds_nobody_up(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller(LISTEN, _wish("u:1"), MODERN))
    for message in list(modern.plugin.heard):
        if message.get("method") == LISTEN:
            modern.plugin.say({"id": message["id"], "error": {"code": -32601, "message": "no"}})
    await caller.take(Kind.EVENT)


async def test_a_subscription_that_a_modern_plugin_ends_is_opened_again_at_the_next_look(
    modern: Counter,
) -> None:
    _acknowledge(modern)
    await asyncio.sleep(0)
    modern.desk.refresh()
    ident = next(message["id"] for message in modern.plugin.heard if message.get("method") == LISTEN)
    assert len(_asked(modern.plugin, LISTEN)) == 1
    modern.plugin.say({"id": ident, "result": {"resultType": "complete"}})
    await asyncio.sleep(0)
    modern.desk.refresh()
    assert len(_asked(modern.plugin, LISTEN)) == 2


async def test_a_modern_plugin_that_acknowledges_what_nobody_asked_changes_nothing(modern: Counter) -> None:
    for _ in range(3):
        _acknowledge(modern)
        await asyncio.sleep(0)
    assert not _asked(modern.plugin, "notifications/cancelled")


async def test_wishes_outlive_the_plugin(
    legacy: Counter, new_plugin: type[Plugin], new_caller: type[Caller]
) -> None:
    listener = legacy.call(new_caller(LISTEN, _wish("u:1"), MODERN))
    await listener.take(Kind.EVENT)
    await legacy.call(new_caller("logging/setLevel", {"level": "debug"}, ONE)).take(Kind.RESULT)
    legacy.desk.closed()
    assert await legacy.call(new_caller(LISTEN, {}, MODERN)).code() == "plugin_unavailable"
    legacy.plugin = new_plugin()
    legacy.plugin.offer(logging={}, resources={"subscribe": True})
    await legacy.open()
    assert [one["uri"] for one in _asked(legacy.plugin, "resources/subscribe")] == ["u:1"]
    assert [one["level"] for one in _asked(legacy.plugin, "logging/setLevel")] == ["debug"]
    legacy.plugin.say(_updated("u:1"))
    assert (await listener.take(Kind.EVENT))["params"] == {"uri": "u:1"}


@pytest.mark.threat("T-FLOOD")
async def test_requests_of_our_own_that_are_never_answered_are_bounded(
    legacy: Counter, new_caller: type[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "MAX_CHORES", 3)
    for method in ("resources/subscribe", "resources/unsubscribe", "logging/setLevel"):
        legacy.plugin.answers[method] = lambda params: None
    for number in range(9):
        listener = legacy.call(new_caller(LISTEN, _wish(f"u:{number}"), MODERN))
        legacy.desk.cancel(listener.inbound)
        level = ("debug", "info")[number % 2]
        await legacy.call(new_caller("logging/setLevel", {"level": level}, ONE)).take(Kind.RESULT)
    assert legacy.plugin.session.in_flight == 4
