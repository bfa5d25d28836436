from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.framing import another

from sekisho.errors import Unavailable
from sekisho.wire import CallContext, CallFrame, Inbound
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

ONE = CallContext(scope="s1")


async def test_a_call_without_context_is_sent_as_it_always_was(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    caller = legacy.call(new_caller())
    call = await legacy.arrival()
    assert call["params"] == {"name": "echo", "arguments": {"x": 1}}
    legacy.plugin.say({"id": call["id"], "result": {"content": []}})
    assert await caller.take(Kind.RESULT) == {"content": []}


async def test_an_error_of_the_plugin_reaches_the_core_as_it_came(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    error = {"code": -32602, "message": "no such tool", "data": {"name": "echo"}}
    for context in (None, ONE):
        caller = legacy.call(new_caller(context=context))
        call = await legacy.arrival()
        legacy.plugin.say({"id": call["id"], "error": error})
        assert await caller.take(Kind.ERROR) == error


@pytest.mark.parametrize("context", [None, ONE])
async def test_every_call_ends_once_whatever_ends_it(
    legacy: Counter, new_caller: type[Caller], context: CallContext | None
) -> None:
    gone = legacy.call(new_caller(context=context))
    legacy.desk.closed()
    legacy.plugin.session.fail_all(Unavailable("plugin_exited", "gone"))
    assert await gone.code() == "plugin_exited"
    assert await legacy.call(new_caller(context=context)).code() == "plugin_unavailable"
    await legacy.open()
    late = legacy.call(new_caller(context=context, timeout_s=0.01))
    call = await legacy.arrival()
    assert await late.code() == "plugin_timeout"
    legacy.plugin.say({"id": call["id"], "result": {}})
    await asyncio.sleep(0)
    withdrawn = legacy.call(new_caller(context=context))
    call = await legacy.arrival()
    legacy.desk.cancel(withdrawn.inbound)
    legacy.plugin.say({"id": call["id"], "result": {}})
    await asyncio.sleep(0)
    assert all(caller.heard.empty() for caller in (gone, late, withdrawn))
    assert not legacy.desk._roster.entries
    assert not legacy.desk._roster.exchanges


@pytest.mark.parametrize("context", [b"{", b"[]", b'{"scope":7}', b'{"unknown":1}'])
async def test_a_context_that_cannot_be_read_ends_the_call(
    legacy: Counter, new_caller: type[Caller], context: bytes
) -> None:
    caller = new_caller()
    frame = CallFrame("echo", b"{}", "", 5.0, context=context)
    caller.inbound = Inbound(1, frame, caller._hear)
    assert await legacy.call(caller).code() == "plugin_protocol"
    assert legacy.plugin.arrivals.empty()


async def test_parameters_that_are_no_object_end_the_call(legacy: Counter, new_caller: type[Caller]) -> None:
    caller = new_caller()
    frame = CallFrame("prompts/get", b"[]", "", 5.0)
    caller.inbound = Inbound(1, frame, caller._hear)
    assert await legacy.call(caller).code() == "params_invalid"


async def test_notes_of_a_call_with_context_reach_its_caller(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    meta = msgspec.Raw(json.dumps({"traceparent": "00"}).encode())
    caller = legacy.call(new_caller(context=CallContext(meta=meta), wants_progress=True))
    call = await legacy.arrival()
    assert call["params"]["_meta"] == {"traceparent": "00", "progressToken": call["id"]}
    legacy.plugin.say(
        {"method": "notifications/progress", "params": {"progressToken": call["id"], "progress": 1}}
    )
    assert await caller.take(Kind.NOTE) == {"progress": 1}


@pytest.mark.threat("T-FLOOD")
async def test_a_call_for_which_there_is_no_room_is_refused(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    legacy.plugin.is_full = True
    legacy.plugin.session.attach(legacy.plugin)
    for context in (None, ONE):
        assert await legacy.call(new_caller(context=context)).code() == "busy"


async def test_what_belonged_to_nobody_is_told_once(legacy: Counter) -> None:
    assert legacy.desk.take_dropped() == {}
    legacy.plugin.say({"id": 1, "method": "elicitation/create", "params": {}})
    for _ in range(2):
        legacy.plugin.say({"method": "notifications/unheard/of"})
    legacy.answer("s", "nothing", result={})
    await asyncio.sleep(0)
    assert legacy.desk.take_dropped() == {"questions": 1, "events": 2, "answers": 1}
    assert legacy.desk.take_dropped() == {}


@pytest.mark.threat("T-CROSS")
async def test_a_call_for_an_instance_is_refused_where_clients_share_the_plugin(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    for _ in range(2):
        mine = legacy.call(new_caller(context=CallContext(scope="s", instance="i")))
        assert await mine.code() == "config_invalid"
    wish = new_caller("subscriptions/listen", {"scope": True}, CallContext(instance="i"))
    legacy.desk.remember(wish.inbound)
    assert await wish.code() == "config_invalid"
    legacy.call(new_caller(context=CallContext(scope="s")))
    await legacy.arrival()


async def test_a_desk_knows_whether_anything_would_be_lost_with_its_plugin(
    legacy: Counter, new_caller: type[Caller]
) -> None:
    desk = legacy.desk
    seen = [(desk.is_open, desk.is_busy, desk.is_empty, desk.is_followed)]
    caller = legacy.call(new_caller(context=ONE))
    seen.append((desk.is_open, desk.is_busy, desk.is_empty, desk.is_followed))
    call = await legacy.arrival()
    legacy.plugin.say({"id": call["id"], "result": {"content": []}})
    await caller.take(Kind.RESULT)
    wish = {"notifications": {"resourceSubscriptions": ["x://1"]}}
    listener = legacy.call(new_caller("subscriptions/listen", wish, ONE))
    await listener.take(Kind.EVENT)
    seen.append((desk.is_open, desk.is_busy, desk.is_empty, desk.is_followed))
    desk.end_listening()
    assert await listener.code() == "plugin_exited"
    desk.closed()
    seen.append((desk.is_open, desk.is_busy, desk.is_empty, desk.is_followed))
    assert seen == [
        (True, False, True, False),
        (True, True, False, False),
        (True, False, False, True),
        (False, False, True, False),
    ]


@pytest.mark.parametrize("arguments", [b"[]", b'"x"'])
async def test_a_wish_whose_parameters_are_no_object_is_refused(
    legacy: Counter, new_caller: type[Caller], arguments: bytes
) -> None:
    caller = new_caller("logging/setLevel", context=ONE)
    caller.inbound.frame = another(caller.inbound.frame, arguments=arguments)
    legacy.desk.remember(caller.inbound)
    assert await caller.code() == "params_invalid"
