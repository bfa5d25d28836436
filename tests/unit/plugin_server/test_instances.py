from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sekisho.errors import Unavailable
from sekisho.plugin_server import instance as instance_module
from sekisho.plugin_server import instances as instances_module
from sekisho.plugin_server import waiting
from sekisho.plugin_server.instances import InstanceRules, Instances
from sekisho.plugin_server.warden import WardenRules
from sekisho.wire import AnswerFrame, CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Board, Caller, Incubator, Life, Plugin

WAIT_S = 5.0
LONG_S = 3600.0
RULES = WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=WAIT_S, health_interval_s=LONG_S)
FORM = {"message": "name?", "requestedSchema": {"type": "object", "properties": {}}}


class Pool:
    """Instances of fake plugins; `lives` holds all but the listed one's, as they start."""

    def __init__(
        self, incubator: Incubator, board: Board, caller: type[Caller], rules: WardenRules, **bounds: Any
    ) -> None:
        self.lives: asyncio.Queue[Life] = asyncio.Queue()
        self.slots: list[int] = []
        self.open: set[int] = set()
        self.ended: asyncio.Queue[int] = asyncio.Queue()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.listed: Life
        self._incubator = incubator
        self._board = board
        self._caller = caller
        self.pool = Instances(
            connect=self._connect,
            publisher=board,
            rules=rules,
            bounds=InstanceRules(**({"most": 2, "idle_s": LONG_S} | bounds)),
            log=lambda event, **facts: self.log.append((event, facts)),
        )

    def _connect(self, slot: int, on_change: Callable[[], None]) -> AbstractAsyncContextManager[Life]:
        return self._connected(slot, on_change)

    @asynccontextmanager
    async def _connected(self, slot: int, on_change: Callable[[], None]) -> AsyncIterator[Life]:
        assert slot not in self.open
        self.open.add(slot)
        try:
            async with self._incubator.connect(on_change) as life:
                if slot:
                    self.slots.append(slot)
                    self.lives.put_nowait(life)
                else:
                    self.listed = life
                yield life
        finally:
            self.open.discard(slot)
            self.ended.put_nowait(slot)

    def call(self, instance: str, tool: str = "echo", /, **more: Any) -> Caller:
        """One call of this instance's client."""
        context = more.pop("context", CallContext(scope=instance))
        caller = self._caller(tool, context=msgspec.structs.replace(context, instance=instance), **more)
        self.pool.call(caller.inbound)
        return caller

    async def life(self) -> Life:
        """The next instance that started."""
        return await asyncio.wait_for(self.lives.get(), WAIT_S)

    async def gone(self) -> int:
        """The next slot in which nothing runs any more."""
        return await asyncio.wait_for(self.ended.get(), WAIT_S)


Opener = Callable[..., AbstractAsyncContextManager[Pool]]


@pytest.fixture
def opened(incubator: Incubator, board: Board, new_caller: type[Caller]) -> Opener:
    @asynccontextmanager
    async def run(rules: WardenRules = RULES, **bounds: Any) -> AsyncIterator[Pool]:
        pool = Pool(incubator, board, new_caller, rules, **bounds)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(pool.pool.run())
            await board.until("ready")
            try:
                yield pool
            finally:
                running.cancel()
        assert pool.open == set()

    return run


def _silent(plugin: Plugin) -> None:
    plugin.answers["tools/call"] = lambda params: None


def _dead(plugin: Plugin) -> None:
    plugin.is_dead = True


def _listed(plugin: Plugin) -> None:
    """As the incubator makes it."""


def _other_face(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: {"tools": [{"name": "echo", "inputSchema": {"a": 1}}]}


async def _answered(caller: Caller) -> None:
    assert (await caller.take(Kind.RESULT))["structuredContent"] == {"x": 1}


@pytest.mark.threat("T-CROSS")
async def test_each_client_s_calls_reach_a_process_of_its_own(opened: Opener) -> None:
    async with opened() as pool:
        await _answered(pool.call("a"))
        await _answered(pool.call("b"))
        await _answered(pool.call("a"))
        one, other = await pool.life(), await pool.life()
        calls = [
            sum(one["method"] == "tools/call" for one in life.plugin.heard if "method" in one)
            for life in (one, other, pool.listed)
        ]
        assert calls == [2, 1, 0]
        assert pool.pool.running == 2


@pytest.mark.parametrize("context", [None, CallContext(scope="s")])
async def test_a_call_that_names_no_instance_is_refused(
    opened: Opener, new_caller: type[Caller], context: CallContext | None
) -> None:
    async with opened() as pool:
        caller = new_caller(context=context)
        pool.pool.call(caller.inbound)
        assert await caller.code() == "config_invalid"
        assert pool.slots == []


async def test_calls_wait_for_one_start_and_are_bounded(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 2)
    async with opened() as pool:
        first, second, third = (pool.call("a") for _ in range(3))
        assert await third.code() == "busy"
        await _answered(first)
        await _answered(second)
        assert pool.slots == [1]


@pytest.mark.threat("T-FLOOD")
async def test_the_one_not_used_for_longest_makes_room(opened: Opener) -> None:
    async with opened() as pool:
        for name in ("a", "b", "a"):
            await _answered(pool.call(name))
        await _answered(pool.call("c"))
        assert pool.slots == [1, 2, 2]
        assert await pool.gone() == 2
        assert pool.open == {0, 1, 2}
        await _answered(pool.call("a"))
        assert len(pool.slots) == 3


@pytest.mark.threat("T-FLOOD")
async def test_a_process_with_a_call_under_way_makes_no_room(opened: Opener, incubator: Incubator) -> None:
    async with opened(most=1) as pool:
        incubator.prepared.append(_silent)
        busy = pool.call("a")
        life = await pool.life()
        call = await life.plugin.wait_for("tools/call")
        assert await pool.call("b").code() == "busy"
        life.plugin.say({"id": call["id"], "result": {"structuredContent": {"x": 1}}})
        await _answered(busy)
        await _answered(pool.call("b"))


async def test_one_that_is_still_starting_makes_no_room(opened: Opener) -> None:
    async with opened(most=1) as pool:
        waiting = pool.call("a")
        assert await pool.call("b").code() == "busy"
        await _answered(waiting)


async def test_many_newcomers_never_exceed_the_bound(opened: Opener) -> None:
    async with opened(most=2) as pool:
        await _answered(pool.call("a"))
        await _answered(pool.call("b"))
        callers = [pool.call(name) for name in ("c", "d", "e")]
        assert await callers[2].code() == "busy"
        await _answered(callers[0])
        await _answered(callers[1])
        assert pool.pool.running == 2


async def test_who_is_ended_to_make_room_comes_back_when_there_is_some(opened: Opener) -> None:
    async with opened(most=2) as pool:
        await _answered(pool.call("a"))
        await _answered(pool.call("b"))
        newcomer, again = pool.call("c"), pool.call("a")
        await _answered(newcomer)
        await _answered(again)
        assert sorted(pool.slots) == [1, 1, 2, 2]


async def test_a_process_that_is_not_used_ends_and_is_forgotten(opened: Opener) -> None:
    async with opened(idle_s=0.05, most=1) as pool:
        await _answered(pool.call("a"))
        assert await pool.gone() == 1
        await _answered(pool.call("a"))
        assert await pool.gone() == 1
        assert pool.pool.running == 0


async def test_a_process_whose_client_listens_for_news_of_a_resource_does_not_end(
    opened: Opener, incubator: Incubator
) -> None:
    def follows(plugin: Plugin) -> None:
        plugin.offer(tools={}, resources={"subscribe": True})
        plugin.answers["resources/list"] = plugin.answers["resources/templates/list"] = lambda params: {}

    incubator.prepared.extend([follows, follows, follows])
    async with opened(idle_s=0.05) as pool:
        wish = {"notifications": {"resourceSubscriptions": ["x://1"]}}
        listener = pool.call("a", "subscriptions/listen", arguments=wish)
        await listener.take(Kind.EVENT)
        await pool.call("b", "resources/subscribe", arguments={"uri": "x://1"}).take(Kind.RESULT)
        assert await pool.gone() == 2  # nobody listens there
        pool.pool.cancel(listener.inbound)
        assert await pool.gone() == 1


async def test_a_plugin_that_dies_takes_only_its_own_calls_along(
    opened: Opener, incubator: Incubator
) -> None:
    async with opened() as pool:
        incubator.prepared.extend([_silent, _silent])
        one, other = pool.call("a"), pool.call("b")
        dying, living = await pool.life(), await pool.life()
        await dying.plugin.wait_for("tools/call")
        call = await living.plugin.wait_for("tools/call")
        dying.end(Unavailable("plugin_exited", "gone"))
        assert await one.code() == "plugin_exited"
        await _answered(pool.call("a"))
        living.plugin.say({"id": call["id"], "result": {"structuredContent": {"x": 1}}})
        await _answered(other)
        assert len(pool.slots) == 3


async def test_a_call_that_hangs_ends_one_instance(opened: Opener, incubator: Incubator) -> None:
    hasty = WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=0.05, health_interval_s=LONG_S)
    async with opened(hasty) as pool:
        incubator.prepared.append(_silent)
        hanging = pool.call("a")
        life = await pool.life()
        assert await hanging.code() == "plugin_timeout"
        await asyncio.wait_for(life.was_killed.wait(), WAIT_S)
        assert await pool.gone() == 1
        assert 0 in pool.open


async def test_a_start_that_fails_refuses_who_waits_and_is_not_repeated_at_once(
    opened: Opener, incubator: Incubator
) -> None:
    def refuses(plugin: Plugin) -> None:
        del plugin.answers["initialize"]

    async with opened() as pool:
        incubator.prepared.append(refuses)
        assert await pool.call("a").code() == "plugin_protocol"
        await pool.gone()
        assert await pool.call("a").code() == "plugin_protocol"
        assert pool.slots == [1]
        await _answered(pool.call("b"))


async def test_a_failed_start_is_tried_again_after_a_while(
    opened: Opener, incubator: Incubator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_module, "BACKOFF_FIRST_S", 0.0)
    async with opened() as pool:
        incubator.prepared.append(_other_face)
        assert await pool.call("a").code() == "definition_changed"
        await pool.gone()
        await _answered(pool.call("a"))


async def test_a_start_takes_no_longer_than_the_call_that_waits(opened: Opener, incubator: Incubator) -> None:
    async with opened() as pool:
        incubator.prepared.append(_dead)
        assert await pool.call("a", timeout_s=0.05).code() == "plugin_timeout"


@pytest.mark.threat("T-RUGPULL")
async def test_an_instance_that_shows_another_face_takes_no_call(
    opened: Opener, incubator: Incubator
) -> None:
    async with opened() as pool:
        incubator.prepared.append(_other_face)
        assert await pool.call("a").code() == "definition_changed"
        life = await pool.life()
        assert not any(one.get("method") == "tools/call" for one in life.plugin.heard)
        assert await pool.gone() == 1
        await _answered(pool.call("b"))


@pytest.mark.threat("T-RUGPULL")
async def test_an_instance_that_changes_its_face_later_ends(opened: Opener) -> None:
    async with opened() as pool:
        await _answered(pool.call("a"))
        life = await pool.life()
        _other_face(life.plugin)
        life.plugin.say({"method": "notifications/tools/list_changed"})
        assert await pool.gone() == 1
        await _answered(pool.call("a"))


@pytest.mark.threat("T-RUGPULL")
async def test_when_the_listed_one_changes_its_face_all_others_end(opened: Opener, board: Board) -> None:
    async with opened() as pool:
        await _answered(pool.call("a"))
        await board.surface()
        _other_face(pool.listed.plugin)
        pool.listed.plugin.say({"method": "notifications/tools/list_changed"})
        assert b'"a":1' in bytes((await board.surface()).tools[0]).replace(b" ", b"")
        assert await pool.gone() == 1
        assert await pool.call("a").code() == "definition_changed"


async def test_before_the_plugin_was_listed_nothing_is_started(
    incubator: Incubator, board: Board, new_caller: type[Caller]
) -> None:
    pool = Pool(incubator, board, new_caller, RULES)
    assert await pool.call("a").code() == "plugin_unavailable"
    assert pool.slots == []


async def test_a_withdrawn_call_is_withdrawn_where_it_is(opened: Opener, incubator: Incubator) -> None:
    async with opened() as pool:
        incubator.prepared.append(_silent)
        waiting, sent = pool.call("a"), pool.call("a", arguments={"y": 2})
        pool.pool.cancel(waiting.inbound)
        life = await pool.life()
        call = await life.plugin.wait_for("tools/call")
        assert call["params"]["arguments"] == {"y": 2}
        pool.pool.cancel(sent.inbound)
        cancelled = await life.plugin.wait_for("notifications/cancelled")
        assert cancelled["params"]["requestId"] == call["id"]


async def test_nobody_is_started_for_a_call_that_was_withdrawn_while_it_waited_for_room(
    opened: Opener,
) -> None:
    async with opened(most=1) as pool:
        await _answered(pool.call("a"))
        pool.pool.cancel(pool.call("b").inbound)
        assert await pool.gone() == 1
        await _answered(pool.call("a"))
        assert len(pool.slots) == 2


async def test_room_that_was_made_for_a_withdrawn_call_is_another_s(opened: Opener) -> None:
    async with opened(most=1) as pool:
        await _answered(pool.call("a"))
        pool.pool.cancel(pool.call("b").inbound)
        await _answered(pool.call("c"))
        assert len(pool.slots) == 2


async def test_a_client_whose_call_was_withdrawn_has_no_claim_on_room_that_another_got(
    opened: Opener,
) -> None:
    async with opened(most=1) as pool:
        await _answered(pool.call("a"))
        pool.pool.cancel(pool.call("b").inbound)
        third = pool.call("c")
        late = pool.call("b")
        assert (await late.take(Kind.FAILURE))["code"] == "busy"
        await _answered(third)


@pytest.mark.threat("T-CROSS")
async def test_two_are_asked_at_once_and_each_answer_finds_its_instance(
    opened: Opener, incubator: Incubator
) -> None:
    def asks(plugin: Plugin) -> None:
        plugin.session.may_ask = ("elicitation",)
        _silent(plugin)

    incubator.prepared.extend([_listed, asks, asks])
    async with opened() as pool:
        asked = []
        for name in ("a", "b"):
            may = CallContext(scope=name, style="stream", may_ask=("elicitation",))
            caller = pool.call(name, context=may)
            life = await pool.life()
            call = await life.plugin.wait_for("tools/call")
            life.plugin.say({"id": "q", "method": "elicitation/create", "params": FORM})
            asked.append((name, caller, life, call["id"], (await caller.take(Kind.ASK))["ask"]))
        for name, caller, life, ident, handle in reversed(asked):
            said = msgspec.Raw(b'{"action":"accept","content":{"name":"%s"}}' % name.encode())
            pool.pool.answer(AnswerFrame(name, handle, result=said))
            response = await life.plugin.wait_for_response()
            assert response["result"]["content"] == {"name": name}
            life.plugin.say({"id": ident, "result": {"content": []}})
            assert await caller.take(Kind.RESULT) == {"content": []}
        pool.pool.answer(AnswerFrame("a", "nothing", result=msgspec.Raw(b"{}")))
        assert pool.pool._listed.desk.take_dropped() == {"answers": 1}


async def test_a_level_and_a_stream_wait_for_the_plugin_without_starting_it(
    opened: Opener, incubator: Incubator
) -> None:
    def logs(plugin: Plugin) -> None:
        plugin.offer(tools={}, logging={})

    incubator.prepared.extend([logs, logs, logs])
    stream = CallContext(scope="a", style="stream")
    async with opened(idle_s=0.05, most=1) as pool:
        listener = pool.call("a", "subscriptions/listen", arguments={"scope": True}, context=stream)
        assert (await listener.take(Kind.EVENT))["method"] == "notifications/subscriptions/acknowledged"
        level = pool.call("a", "logging/setLevel", arguments={"level": "error"}, context=stream)
        assert await level.take(Kind.RESULT) == {}
        assert pool.slots == []
        for _ in range(2):  # and outlive it
            await _answered(pool.call("a", context=stream))
            life = await pool.life()
            for word in ("info", "error"):
                said = {"level": word, "data": word}
                life.plugin.say({"method": "notifications/message", "params": said})
            assert (await listener.take(Kind.EVENT))["params"]["data"] == "error"
            assert await pool.gone() == 1
        pool.pool.cancel(listener.inbound)


async def test_a_stream_of_certain_resources_starts_the_plugin(opened: Opener) -> None:
    async with opened() as pool:
        wish = {"notifications": {"resourceSubscriptions": ["x://1"]}}
        listener = pool.call("a", "subscriptions/listen", arguments=wish)
        assert (await listener.take(Kind.EVENT))["params"] == {"notifications": {}}
        assert pool.slots == [1]


@pytest.mark.threat("T-FLOOD")
async def test_of_clients_without_a_process_the_oldest_is_forgotten(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances_module, "MAX_KNOWN", 2)
    async with opened() as pool:
        listeners = [
            pool.call(name, "subscriptions/listen", arguments={"scope": True}) for name in ("a", "b", "c")
        ]
        for one in listeners:
            await one.take(Kind.EVENT)
        assert await listeners[0].code() == "plugin_exited"
        await _answered(pool.call("b"))
        await _answered(pool.call("c"))
        assert await pool.call("d").code() == "busy"


async def test_who_waits_when_the_server_ends_is_told(opened: Opener, incubator: Incubator) -> None:
    async with opened() as pool:
        incubator.prepared.append(_dead)
        waiting = pool.call("a")
        await pool.life()
    assert await waiting.code() == "plugin_exited"
