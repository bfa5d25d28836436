"""Calls that wait for a start are answered once, in time or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sekisho.errors import Unavailable
from sekisho.plugin_server import waiting
from sekisho.plugin_server.waiting import Waiting
from sekisho.wire import CallFrame, Inbound
from sekisho.wire.frames import Kind

Heard = list[tuple[int, Kind]]


def call(number: int, heard: Heard, timeout_s: float = 5.0) -> Inbound:
    frame = CallFrame(tool="echo", arguments=b"{}", digest="", timeout_s=timeout_s)
    return Inbound(number, frame, lambda which, kind, payload: heard.append((which, kind)))


def answer(inbound: Inbound) -> None:
    inbound.reply(b"{}")


async def test_what_waits_is_taken_in_its_order_with_the_time_that_is_left() -> None:
    heard: Heard = []
    calls = Waiting(1.0)
    for number in (1, 2):
        calls.hold(call(number, heard))
    taken: list[Inbound] = []
    calls.release(taken.append)
    assert [one.frame.timeout_s <= 1.0 for one in taken] == [True, True]
    assert len(calls) == 0
    assert heard == []
    for one in taken:
        answer(one)
    assert heard == [(1, Kind.RESULT), (2, Kind.RESULT)]


async def test_a_call_that_waits_too_long_is_refused_once() -> None:
    told: asyncio.Queue[Kind] = asyncio.Queue()
    frame = CallFrame(tool="echo", arguments=b"{}", digest="", timeout_s=0.01)
    calls = Waiting(5.0)
    calls.hold(Inbound(1, frame, lambda which, kind, payload: told.put_nowait(kind)))
    assert await asyncio.wait_for(told.get(), 5) is Kind.FAILURE
    calls.release(answer)
    assert told.empty()


async def test_a_withdrawn_call_is_not_taken_and_an_unknown_one_is_said_to_be_unknown() -> None:
    heard: Heard = []
    calls = Waiting(5.0)
    one, other = call(1, heard), call(2, heard)
    calls.hold(one)
    assert calls.withdraw(one)
    assert not calls.withdraw(other)
    calls.release(answer)
    assert heard == []


@pytest.mark.parametrize("end", [lambda calls: calls.refuse(Unavailable("plugin_exited", "it ended"))])
async def test_all_are_refused_when_nothing_more_is_waited_for(end: Callable[[Waiting], None]) -> None:
    heard: Heard = []
    calls = Waiting(5.0)
    for number in (1, 2):
        calls.hold(call(number, heard))
    end(calls)
    assert heard == [(1, Kind.FAILURE), (2, Kind.FAILURE)]
    assert len(calls) == 0


async def test_more_than_a_bound_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 2)
    heard: Heard = []
    calls = Waiting(5.0)
    for number in (1, 2, 3):
        calls.hold(call(number, heard))
    assert heard == [(3, Kind.FAILURE)]
    calls.release(answer)
    assert heard[1:] == [(1, Kind.RESULT), (2, Kind.RESULT)]
