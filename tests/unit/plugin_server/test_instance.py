from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.face import Face
from sekisho.plugin_server.instance import Instance
from sekisho.plugin_server.opening import EraMemory
from sekisho.plugin_server.warden import Warden, WardenRules
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Board, Caller, Incubator, Plugin

WAIT_S = 5.0
RULES = WardenRules(start_timeout_s=WAIT_S, execution_timeout_s=WAIT_S, health_interval_s=3600.0)
OURS = CallContext(scope="s", instance="a")


def _state(instance: Instance) -> tuple[bool, bool, bool]:
    return instance.takes_calls, instance.is_idle, instance.is_ending


def _breaks(plugin: Plugin) -> None:
    del plugin.answers["initialize"]


class Slot:
    """One instance, and when its slot is free again."""

    def __init__(self, incubator: Incubator) -> None:
        self.face = Face(lambda: None)
        self.freed: asyncio.Queue[int] = asyncio.Queue()
        self.log: list[str] = []
        self.instance = Instance(
            "a",
            connect=lambda slot, on_list_changed: incubator.connect(on_list_changed),
            rules=RULES,
            face=self.face,
            era=EraMemory(),
            log=lambda event, **facts: self.log.append(event),
            publish_denial=lambda denial: None,
        )

    def start(self, group: asyncio.TaskGroup, slot: int = 1) -> None:
        self.instance.start(group, slot, lambda _, slot: self.freed.put_nowait(slot))

    async def free(self) -> int:
        return await asyncio.wait_for(self.freed.get(), WAIT_S)


@pytest.fixture
async def slot(incubator: Incubator, board: Board) -> Slot:
    """An instance that shows what was listed."""
    slot = Slot(incubator)
    listed = Warden(connect=incubator.connect, publisher=board, rules=RULES, log=lambda event, **facts: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(listed.run())
        slot.face.show(await board.surface())
        await incubator.next_life()
        running.cancel()
    return slot


async def test_a_call_waits_for_the_start_and_is_answered(slot: Slot, new_caller: type[Caller]) -> None:
    caller, instance = new_caller(context=OURS), slot.instance
    async with asyncio.TaskGroup() as group:
        instance.wait(caller.inbound)
        assert instance.is_waited_for
        slot.start(group, 7)
        await caller.take(Kind.RESULT)
        assert 0 < caller.inbound.frame.timeout_s < WAIT_S  # its own time ran meanwhile
        assert _state(instance) == (True, True, False)
        instance.end("enough")
        assert _state(instance) == (False, False, True)
        assert await slot.free() == 7
    assert instance.slot == 0
    assert instance.can_be_forgotten
    assert slot.log == ["plugin_instance_ended"]


async def test_what_ends_by_itself_says_why(
    slot: Slot, incubator: Incubator, new_caller: type[Caller]
) -> None:
    async with asyncio.TaskGroup() as group:
        slot.start(group)
        life = await incubator.next_life()
        caller = new_caller(context=OURS)
        slot.instance.wait(caller.inbound)
        await caller.take(Kind.RESULT)
        life.end(Unavailable("plugin_exited", "gone"))
        await slot.free()
    assert slot.instance.problem is None
    assert slot.log == ["plugin_instance_ended"]


async def test_a_failed_start_is_remembered_for_a_moment_that_grows(
    slot: Slot, incubator: Incubator, new_caller: type[Caller]
) -> None:
    instance, waits = slot.instance, []
    for _ in range(3):
        incubator.prepared.append(_breaks)
        caller = new_caller(context=OURS)
        instance.wait(caller.inbound)
        async with asyncio.TaskGroup() as group:
            slot.start(group)
            assert await caller.code() == "plugin_protocol"
        assert isinstance(instance.problem, SekishoError)
        assert not instance.can_be_forgotten
        waits.append(instance._backoff_s)
    assert waits == [0.1, 0.2, 0.4]


async def test_a_withdrawn_call_waits_no_longer(slot: Slot, new_caller: type[Caller]) -> None:
    one, other = new_caller(context=OURS), new_caller(context=OURS)
    for caller in (one, other):
        slot.instance.wait(caller.inbound)
    slot.instance.cancel(one.inbound)
    slot.instance.refuse(Unavailable("busy", "no"))
    assert await other.code() == "busy"
    assert one.heard.empty()
    assert not slot.instance.is_waited_for


async def test_a_call_of_another_instance_is_refused_even_here(slot: Slot, new_caller: type[Caller]) -> None:
    caller = new_caller(context=CallContext(scope="s", instance="b"))
    async with asyncio.TaskGroup() as group:
        slot.instance.wait(caller.inbound)
        slot.start(group)
        assert await caller.code() == "config_invalid"
        slot.instance.end("enough")


async def test_who_is_forgotten_tells_those_who_listen(slot: Slot, new_caller: type[Caller]) -> None:
    listener = new_caller("subscriptions/listen", {"scope": True}, OURS)
    slot.instance.desk.remember(listener.inbound)
    await listener.take(Kind.EVENT)
    assert not slot.instance.can_be_forgotten
    slot.instance.close()
    assert await listener.code() == "plugin_exited"
