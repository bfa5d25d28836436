from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.errors import RemoteProtocolError, Unavailable
from sekisho.plugin_server import warden
from sekisho.plugin_server.warden import Warden, WardenRules
from sekisho.wire import CallContext, CallFrame, Inbound, encode_context
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Board, Incubator, Life, Plugin

WAIT_S = 5.0
SHORT_S = 0.02
RULES = WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=WAIT_S, health_interval_s=60)


class Caller:
    """One call, and its answers."""

    def __init__(
        self, timeout_s: float = WAIT_S, *, wants_progress: bool = False, context: bytes = b""
    ) -> None:
        self._answers: asyncio.Queue[tuple[Kind, Any]] = asyncio.Queue()
        frame = CallFrame(
            tool="echo",
            arguments=b'{"x":1}',
            digest="",
            timeout_s=timeout_s,
            wants_progress=wants_progress,
            context=context,
        )
        self.inbound = Inbound(1, frame, self._hear)

    async def answer(self) -> tuple[Kind, Any]:
        return await asyncio.wait_for(self._answers.get(), WAIT_S)

    async def code(self) -> str:
        kind, answer = await self.answer()
        assert kind is Kind.FAILURE
        code: str = answer["code"]
        return code

    def _hear(self, call: int, kind: Kind, payload: bytes | memoryview) -> None:
        self._answers.put_nowait((kind, json.loads(bytes(payload))))


@asynccontextmanager
async def _kept(incubator: Incubator, board: Board, rules: WardenRules = RULES) -> AsyncIterator[Warden]:
    warden = Warden(connect=incubator.connect, publisher=board, rules=rules, log=lambda event, **facts: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(warden.run())
        try:
            yield warden
        finally:
            running.cancel()


async def _ready(incubator: Incubator, board: Board) -> Life:
    await board.until("ready")
    return await incubator.next_life()


def _silent(plugin: Plugin) -> None:
    plugin.answers["tools/call"] = lambda params: None


@pytest.mark.requirement("A3.1")
async def test_a_call_reaches_the_plugin_and_its_answer_comes_back(
    incubator: Incubator, board: Board
) -> None:
    async with _kept(incubator, board) as warden:
        await _ready(incubator, board)
        caller = Caller()
        warden.call(caller.inbound)
        assert await caller.answer() == (Kind.RESULT, {"content": [], "structuredContent": {"x": 1}})


async def test_notes_of_a_call_reach_its_caller_before_the_answer(incubator: Incubator, board: Board) -> None:
    incubator.prepared.append(_silent)
    async with _kept(incubator, board) as warden:
        life = await _ready(incubator, board)
        caller = Caller(wants_progress=True)
        warden.call(caller.inbound)
        request = await life.plugin.wait_for("tools/call")
        token = request["params"]["_meta"]["progressToken"]
        params = {"progressToken": token, "progress": 1, "message": "half"}
        life.plugin.say({"method": "notifications/progress", "params": params})
        life.plugin.say({"id": request["id"], "result": {}})
        assert await caller.answer() == (Kind.NOTE, {"progress": 1, "message": "half"})
        assert await caller.answer() == (Kind.RESULT, {})


async def test_a_call_that_ends_early_leaves_the_alarm_to_those_that_last(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(_silent)
    async with _kept(incubator, board) as warden:
        life = await _ready(incubator, board)
        gone, long, short = Caller(timeout_s=SHORT_S / 2), Caller(timeout_s=60), Caller(timeout_s=SHORT_S)
        for caller in (long, gone, short):
            warden.call(caller.inbound)
        warden.cancel(gone.inbound)
        assert await short.code() == "plugin_timeout"
        assert long.inbound.is_open
        assert life.session.in_flight == 1


@pytest.mark.threat("T-FLOOD")
async def test_a_plugin_that_always_says_its_lists_changed_is_listed_with_pauses(
    incubator: Incubator, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warden, "RELIST_PAUSE_S", SHORT_S)
    async with _kept(incubator, board):
        life = await _ready(incubator, board)
        await board.surface()
        started = asyncio.get_running_loop().time()
        for _ in range(3):  # the first is looked at without delay
            life.plugin.say({"method": "notifications/tools/list_changed"})
            await board.surface()
        assert asyncio.get_running_loop().time() - started >= 1.9 * SHORT_S


async def test_a_call_before_the_plugin_is_ready_is_refused(incubator: Incubator, board: Board) -> None:
    warden = Warden(connect=incubator.connect, publisher=board, rules=RULES, log=lambda event, **facts: None)
    caller = Caller()
    warden.call(caller.inbound)
    assert await caller.code() == "plugin_unavailable"


@pytest.mark.requirement("A3.2")
@pytest.mark.threat("T-HANG")
async def test_a_call_that_hangs_is_answered_in_time_and_then_the_plugin_is_killed_and_started_anew(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(_silent)
    rules = WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=SHORT_S, health_interval_s=60)
    async with _kept(incubator, board, rules) as warden:
        first = await _ready(incubator, board)
        hanging = Caller()
        warden.call(hanging.inbound)
        assert await hanging.code() == "plugin_timeout"
        assert not first.was_killed.is_set()  # it has a moment to give up by itself
        await first.plugin.wait_for("notifications/cancelled")
        second = await _ready(incubator, board)
        assert first.was_killed.is_set()
        assert first.is_over.is_set()
        harmless = Caller()
        warden.call(harmless.inbound)
        assert (await harmless.answer())[0] is Kind.RESULT
        assert not second.was_killed.is_set()


async def test_the_shorter_of_the_two_timeouts_counts(incubator: Incubator, board: Board) -> None:
    incubator.prepared.append(_silent)
    async with _kept(incubator, board) as warden:
        await _ready(incubator, board)
        caller = Caller(timeout_s=SHORT_S)
        warden.call(caller.inbound)
        assert await caller.code() == "plugin_timeout"


async def test_a_withdrawn_call_is_cancelled_at_the_plugin_and_never_answered(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(_silent)
    async with _kept(incubator, board) as warden:
        life = await _ready(incubator, board)
        caller = Caller()
        warden.call(caller.inbound)
        warden.cancel(caller.inbound)
        warden.cancel(caller.inbound)
        await life.plugin.wait_for("notifications/cancelled")
        assert life.session.in_flight == 0
        assert caller.inbound.is_open


async def test_calls_under_way_hear_that_the_plugin_ended_and_it_starts_again(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(_silent)
    async with _kept(incubator, board) as warden:
        life = await _ready(incubator, board)
        callers = [Caller(), Caller()]
        for caller in callers:
            warden.call(caller.inbound)
        life.end(Unavailable("plugin_exited", "crashed"))
        assert [await caller.code() for caller in callers] == ["plugin_exited"] * 2
        assert (await board.until("restarting")).detail == "crashed"
        assert (await board.until("ready")).restarts == 1


async def test_a_plugin_that_ends_while_it_starts_is_not_waited_for(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(lambda plugin: plugin.answers.update(initialize=lambda params: None))
    rules = WardenRules(start_timeout_s=3600, execution_timeout_s=WAIT_S, health_interval_s=3600)
    async with _kept(incubator, board, rules):
        first = await incubator.next_life()
        first.end(Unavailable("plugin_exited", "died at birth"))
        assert (await board.until("restarting")).detail == "died at birth"
        await board.until("ready")


@pytest.mark.threat("T-HANG")
async def test_a_plugin_that_never_finishes_its_handshake_is_started_anew(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(lambda plugin: plugin.answers.update(initialize=lambda params: None))
    rules = WardenRules(start_timeout_s=SHORT_S, execution_timeout_s=WAIT_S, health_interval_s=60)
    async with _kept(incubator, board, rules):
        assert "did not answer initialize" in (await board.until("restarting")).detail
        await board.until("ready")
        assert (await incubator.next_life()).is_over.is_set()


@pytest.mark.threat("T-GARBAGE")
async def test_a_plugin_whose_list_is_malformed_is_started_anew_and_the_reason_told(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(
        lambda plugin: plugin.answers.update({"tools/list": lambda params: {"tools": 7}})
    )
    async with _kept(incubator, board):
        assert "malformed" in (await board.until("restarting")).detail
        assert len((await board.surface()).tools) == 1


@pytest.mark.threat("T-RUGPULL")
async def test_a_plugin_that_says_its_list_changed_is_listed_again(
    incubator: Incubator, board: Board
) -> None:
    async with _kept(incubator, board):
        life = await _ready(incubator, board)
        assert len((await board.surface()).tools) == 1
        life.plugin.answers["tools/list"] = lambda params: {"tools": [{"name": "echo"}, {"name": "rm"}]}
        life.plugin.say({"method": "notifications/tools/list_changed"})
        assert len((await board.surface()).tools) == 2


@pytest.mark.threat("T-RUGPULL")
async def test_a_quiet_change_is_found_at_the_next_health_check(incubator: Incubator, board: Board) -> None:
    rules = WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=WAIT_S, health_interval_s=SHORT_S)
    async with _kept(incubator, board, rules):
        life = await _ready(incubator, board)
        life.plugin.answers["tools/list"] = lambda params: {"tools": []}
        async with asyncio.timeout(WAIT_S):
            while (await board.surface()).tools:
                pass


async def test_a_listing_that_fails_later_ends_this_life_of_the_plugin(
    incubator: Incubator, board: Board
) -> None:
    async with _kept(incubator, board):
        life = await _ready(incubator, board)
        life.plugin.answers["tools/list"] = lambda params: {"tools": [], "nextCursor": "x"}
        life.plugin.say({"method": "notifications/tools/list_changed"})
        assert "circle" in (await board.until("restarting")).detail
        assert life.is_over.is_set()


@pytest.mark.threat("T-ORPHAN")
async def test_nothing_outlives_the_warden(incubator: Incubator, board: Board) -> None:
    incubator.prepared.append(_silent)
    async with _kept(incubator, board) as warden:
        life = await _ready(incubator, board)
        hanging = Caller(timeout_s=0)
        warden.call(hanging.inbound)
        await hanging.code()  # now somebody is about to kill the plugin
    assert life.is_over.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_plugin_that_cannot_be_started_is_tried_again(incubator: Incubator, board: Board) -> None:
    tries: asyncio.Queue[None] = asyncio.Queue()

    class Broken(AbstractAsyncContextManager["Life"]):
        async def __aenter__(self) -> Life:
            tries.put_nowait(None)
            raise RemoteProtocolError("plugin_protocol", "no such program")

        async def __aexit__(self, *exc: object) -> None:
            raise AssertionError("it was never entered")

    warden = Warden(
        connect=lambda on_list_changed: Broken(),
        publisher=board,
        rules=RULES,
        log=lambda event, **facts: None,
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(warden.run())
        for _ in range(2):
            await asyncio.wait_for(tries.get(), WAIT_S)
        running.cancel()
    assert (await board.until("restarting")).detail == "no such program"


@pytest.mark.threat("T-FLOOD")
async def test_a_call_for_which_there_is_no_room_is_refused_and_harms_no_other(
    incubator: Incubator, board: Board
) -> None:
    async with _kept(incubator, board) as kept:
        life = await _ready(incubator, board)
        life.plugin.is_full = True
        refused = Caller()
        kept.call(refused.inbound)
        assert await refused.code() == "busy"
        life.plugin.is_full = False
        next_one = Caller()
        kept.call(next_one.inbound)
        assert (await next_one.answer())[0] is Kind.RESULT


async def test_the_era_of_a_plugin_is_remembered_between_its_lives(
    incubator: Incubator, board: Board
) -> None:
    async with _kept(incubator, board):
        first = await _ready(incubator, board)
        assert [message["method"] for message in first.plugin.heard][:2] == ["server/discover", "initialize"]
        first.end(Unavailable("plugin_exited", "crashed"))
        await board.until("restarting")
        second = await _ready(incubator, board)
        assert second.plugin.heard[0]["method"] == "initialize"


async def test_a_plugin_that_ends_on_discovery_is_started_as_an_old_one(
    incubator: Incubator, board: Board
) -> None:
    def touchy(plugin: Plugin) -> None:
        plugin.answers["server/discover"] = lambda params: None

    incubator.prepared.append(touchy)
    async with _kept(incubator, board):
        first = await incubator.next_life()
        await first.plugin.wait_for("server/discover")
        first.end(Unavailable("plugin_exited", "what is that?"))
        second = await _ready(incubator, board)
        assert second.plugin.heard[0]["method"] == "initialize"


def _refuses(plugin: Plugin) -> None:
    """Answer every question with the same error."""
    error = {"code": -32603, "message": "no database"}

    def refuse(params: dict[str, object]) -> None:
        del params
        plugin.say({"id": plugin.heard[-1]["id"], "error": error})

    plugin.answers |= {"server/discover": refuse, "initialize": refuse}


async def test_why_a_plugin_refuses_to_start_is_told_in_its_own_words(
    incubator: Incubator, board: Board
) -> None:
    incubator.prepared.append(_refuses)
    async with _kept(incubator, board):
        state = await board.until("restarting")
        assert state.detail == 'the plugin refused initialize: error -32603, "no database"'
        await board.until("ready")  # the next life does not refuse


async def test_what_a_plugin_said_to_nobody_is_in_the_log(incubator: Incubator, board: Board) -> None:
    said: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()
    kept = Warden(
        connect=incubator.connect,
        publisher=board,
        rules=RULES,
        log=lambda event, **facts: said.put_nowait((event, facts)),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(kept.run())
        try:
            life = await _ready(incubator, board)
            life.plugin.say({"id": "q", "method": "elicitation/create", "params": {}})
            await life.plugin.wait_for_response()
            life.end(Unavailable("plugin_exited", "gone"))
            first = await asyncio.wait_for(said.get(), WAIT_S)
        finally:
            running.cancel()
    assert first == ("plugin_messages_dropped", {"questions": 1})


async def test_the_log_says_what_helps_a_plugin_that_asks_in_the_midst_of_several_clients_calls(
    incubator: Incubator, board: Board
) -> None:
    said: dict[str, dict[str, object]] = {}
    kept = Warden(
        connect=incubator.connect,
        publisher=board,
        rules=RULES,
        log=lambda event, **facts: said.update({event: facts}),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(kept.run())
        try:
            life = await _ready(incubator, board)
            _silent(life.plugin)
            for scope in ("one", "two"):
                context = CallContext(scope=scope, style="stream", may_ask=("elicitation",))
                kept.call(Caller(context=encode_context(context)).inbound)
            life.plugin.say({"id": "q", "method": "elicitation/create", "params": {}})
            await life.plugin.wait_for_response()
            life.end(Unavailable("plugin_exited", "gone"))
            await board.until("restarting")
        finally:
            running.cancel()
    assert said["plugin_messages_dropped"]["ambiguous"] == 1
    assert "instances" in str(said["plugin_question_refused"]["remedy"])
