from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sekisho.plugin_server import listening
from sekisho.plugin_server.listening import event_params
from sekisho.protocol import Notification
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


async def test_a_listener_hears_what_is_honoured_and_then_what_it_follows(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(LISTEN, _wish("u:1", "u:2"), MODERN))
    assert await caller.take(Kind.EVENT) == {
        "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": {"resourceSubscriptions": ["u:1", "u:2"]}},
    }
    assert [one["uri"] for one in _asked(legacy.plugin, "resources/subscribe")] == ["u:1", "u:2"]
    for uri in ("u:3", "u:2/part", "u:1"):
        legacy.plugin.say(_updated(uri))
    assert (await caller.take(Kind.EVENT))["params"] == {"uri": "u:2/part"}
    assert (await caller.take(Kind.EVENT))["params"] == {"uri": "u:1"}
    assert caller.heard.empty()


async def test_a_listener_has_no_execution_timeout(
    new_counter: type[Counter], silent: Plugin, new_caller: type[Caller]
) -> None:
    silent.offer(resources={"subscribe": True})
    counter = await new_counter(silent, 0.01).open()
    listener = counter.call(new_caller(LISTEN, _wish("u:1"), MODERN, timeout_s=0.01))
    await listener.take(Kind.EVENT)
    late = counter.call(new_caller())
    assert await late.code() == "plugin_timeout"
    assert listener.heard.empty()
    counter.desk.close()


async def test_a_plugin_that_tells_of_nothing_honours_nothing(
    new_counter: type[Counter], silent: Plugin, new_caller: type[Caller]
) -> None:
    silent.offer(resources={}, tools={})
    counter = await new_counter(silent).open()
    caller = counter.call(new_caller(LISTEN, _wish("u:1"), MODERN))
    assert (await caller.take(Kind.EVENT))["params"] == {"notifications": {}}
    assert not _asked(silent, "resources/subscribe")
    refused = counter.call(new_caller("resources/subscribe", {"uri": "u:1"}, ONE))
    assert await refused.code() == "method_unknown"
    counter.desk.close()


@pytest.mark.threat("T-FLOOD")
async def test_listeners_are_bounded_for_each_scope_and_for_all(
    legacy: Counter, new_caller: type[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MAX_LISTENERS_PER_SCOPE", 2)
    monkeypatch.setattr(listening, "MAX_LISTENERS", 3)
    callers = [legacy.call(new_caller(LISTEN, {}, MODERN)) for _ in range(3)]
    for caller in callers[:2]:
        await caller.take(Kind.EVENT)
    assert await callers[2].code() == "busy"
    other = legacy.call(new_caller(LISTEN, {}, ONE))
    await other.take(Kind.EVENT)
    assert await legacy.call(new_caller(LISTEN, {}, CallContext(scope="x"))).code() == "busy"
    legacy.desk.cancel(callers[0].inbound)
    again = legacy.call(new_caller(LISTEN, {}, MODERN))
    await again.take(Kind.EVENT)


async def test_a_wish_that_cannot_be_read_is_a_wish_for_nothing(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller(LISTEN, {"notifications": {"resourceSubscriptions": "u:1"}}, MODERN))
    assert (await caller.take(Kind.EVENT))["params"] == {"notifications": {}}


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("params", [{}, {"uri": 7}])
async def test_a_change_of_nothing_is_dropped(
    legacy: Counter, new_caller: type[Caller], params: dict[str, Any]
) -> None:
    caller = legacy.call(new_caller(LISTEN, _wish("u:1"), MODERN))
    await caller.take(Kind.EVENT)
    legacy.plugin.say({"method": "notifications/resources/updated", "params": params})
    await asyncio.sleep(0)
    assert caller.heard.empty()


def test_parameters_are_an_object_without_the_meta_of_our_subscription() -> None:
    def read(raw: bytes) -> dict[str, object] | None:
        return event_params(Notification(method="x", params=msgspec.Raw(raw)))

    assert read(b'{"a":1,"_meta":{}}') == {"a": 1}
    assert read(b"") == {}
    assert read(b"[]") is None
    assert read(b"\xff") is None


TASKS = "notifications/tasks"


def _news(ident: str, status: str = "completed") -> dict[str, Any]:
    meta = {"io.modelcontextprotocol/subscriptionId": 3}
    return {"method": TASKS, "params": {"taskId": ident, "status": status, "_meta": meta}}


def _stand(counter: Counter) -> None:
    """The plugin acknowledges the latest subscription."""
    ident = [message["id"] for message in counter.plugin.heard if message.get("method") == LISTEN][-1]
    params = {"notifications": {}, "_meta": {"io.modelcontextprotocol/subscriptionId": ident}}
    counter.plugin.say({"method": "notifications/subscriptions/acknowledged", "params": params})


@pytest.mark.threat("T-CROSS")
async def test_a_listener_hears_of_the_tasks_it_follows_and_of_no_other(
    modern: Counter, new_caller: type[Caller]
) -> None:
    callers = [modern.call(new_caller(LISTEN, {"notifications": {"taskIds": [one]}}, MODERN)) for one in "ab"]
    _stand(modern)
    for caller in callers:
        await caller.take(Kind.EVENT)
    for odd in ({"method": TASKS, "params": {"taskId": 7}}, {"method": TASKS, "params": []}, _news("c")):
        modern.plugin.say(odd)
    modern.plugin.say(_news("b"))
    modern.plugin.say(_news("a", "working"))
    assert (await callers[0].take(Kind.EVENT))["params"] == {"taskId": "a", "status": "working"}
    assert (await callers[1].take(Kind.EVENT))["params"] == {"taskId": "b", "status": "completed"}
    assert callers[0].heard.empty()
    assert callers[1].heard.empty()


async def test_the_plugin_is_asked_for_news_of_tasks_by_whoever_knows_them_and_only_as_long_as_somebody_listens(
    modern: Counter, new_caller: type[Caller]
) -> None:
    caller = modern.call(new_caller(LISTEN, {"notifications": {"taskIds": ["a", "a", "b"]}}, MODERN))
    asked = _asked(modern.plugin, LISTEN)[-1]
    assert asked["notifications"]["taskIds"] == ["a", "b"]
    capabilities = asked["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert capabilities == {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    _stand(modern)
    await caller.take(Kind.EVENT)
    modern.desk.cancel(caller.inbound)
    asked = _asked(modern.plugin, LISTEN)[-1]
    assert "taskIds" not in asked["notifications"]
    assert asked["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}


async def test_a_legacy_plugin_is_asked_for_no_news_of_tasks(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    before = len(legacy.plugin.heard)
    caller = legacy.call(new_caller(LISTEN, {"notifications": {"taskIds": ["a"]}}, MODERN))
    await caller.take(Kind.EVENT)
    assert len(legacy.plugin.heard) == before
