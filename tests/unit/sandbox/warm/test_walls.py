"""A plugin that was forked inside its walls ends once, however its end is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sekisho.sandbox import Exit
from sekisho.sandbox.warm import walls

if TYPE_CHECKING:
    from tests.unit.sandbox.warm.conftest import Case


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("0", Exit(code=0, signal=None, reason="exited")),
        ("7", Exit(code=7, signal=None, reason="exited")),
        ("-11", Exit(code=None, signal=11, reason="signalled")),
    ],
)
async def test_an_end_is_told_as_the_server_tells_it(case: Case, status: str, ended: Exit) -> None:
    told = '{"event": "started"}&{"event": "exit", "status": ' + status + '}&{"event": "exit", "status": 99}'
    async with case.warm(case.ready, told) as warm:
        life = await asyncio.wait_for(warm.start(), case.wait_s)
        assert await asyncio.wait_for(life.wait(), case.wait_s) == ended
        assert await life.kill_tree() == ended
        life.close_fds()


async def test_walls_that_fall_end_the_plugin(case: Case) -> None:
    async with case.warm(case.ready, case.started) as warm:
        life = await asyncio.wait_for(warm.start(), case.wait_s)
        await warm.__aexit__()
        assert (await asyncio.wait_for(life.wait(), case.wait_s)).reason in ("killed", "exited")
        life.close_fds()


async def test_an_end_that_nobody_was_told_of_yet_is_an_end(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walls, "END_S", 0.0)
    async with case.warm(case.ready, case.started) as warm:
        case.drivers[-1].ends_at_once = True
        life = await asyncio.wait_for(warm.start(), case.wait_s)
        assert (await asyncio.wait_for(life.kill_tree(), case.wait_s)).reason == "killed"
        life.close_fds()
