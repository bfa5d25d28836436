"""What a fork server says is believed as little as a plugin: each lie ends in the ordinary start, or in new walls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.unit.sandbox.warm.conftest import Case


LIES: Final = {
    "not JSON": "{",
    "another type": "[1, 2]",
    "a word": '"ready"',
    "no list": '{"event": "ready", "loaded": 7}',
    "a member that is missing": '{"event": "ready"}',
    "deep": "[" * 60_000,
    "not text": "\udcff\udcfe",
    "the end": "end",
    "unfit": '{"event": "unfit", "reason": "an import started a thread"}',
}


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("lie", LIES)
async def test_a_server_that_never_gets_ready_is_passed_over_and_told_once(case: Case, lie: str) -> None:
    async with case.warm(LIES[lie]) as warm:
        for _ in range(2):
            life = await asyncio.wait_for(warm.start(), case.wait_s)
            await life.kill_tree()
            life.close_fds()
    assert case.launched == ["warm", "plain", "plain"]
    assert case.events == ["plugin_not_warm"]


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("lie", ["{", "end", '{"event": "exit", "status": "x"}'])
async def test_a_server_that_cannot_fork_is_passed_over(case: Case, lie: str) -> None:
    async with case.warm(case.ready, lie) as warm:
        life = await asyncio.wait_for(warm.start(), case.wait_s)
        await life.kill_tree()
        life.close_fds()
    assert case.launched == ["warm", "plain"]
    assert case.events == ["plugin_walls_raised", "plugin_not_warm"]


async def test_walls_that_ended_are_raised_again_and_counted(case: Case) -> None:
    async with case.warm(case.ready, case.started, "end") as warm:
        for _ in range(2):
            life = await asyncio.wait_for(warm.start(), case.wait_s)
            ended = await asyncio.wait_for(life.kill_tree(), case.wait_s)  # it closes its channel instead
            assert ended.reason == "killed"
            life.close_fds()
        assert warm.raised == 2
    assert case.launched == ["warm", "warm"]
    assert case.events == ["plugin_walls_raised"] * 2


async def test_walls_raised_ahead_are_those_of_the_first_start(case: Case) -> None:
    async with case.warm(case.ready, case.started) as warm:
        await warm.prepare()
        await warm.prepare()
        assert case.launched == ["warm"]
        (await warm.start()).close_fds()
        assert case.launched == ["warm"]


async def test_walls_that_cannot_be_raised_ahead_lead_to_the_ordinary_start(case: Case) -> None:
    async with case.warm('{"event": "unfit", "reason": "no"}') as warm:
        await warm.prepare()
        await warm.prepare()
        assert case.events == ["plugin_not_warm"]
        running = await warm.start()
        assert case.launched == ["warm", "plain"]
        await running.kill_tree()
        running.close_fds()
