from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from sekisho.assembly.spares import Spares
from sekisho.sandbox import Running, Warm

WAIT_S = 5.0


class Walls(Warm):
    """Walls that count what happens to them; the site's `gate` holds them up while they are raised."""

    def __init__(self, site: Site) -> None:
        self.gate = site.gate
        self.site = site
        self.history: list[str] = []
        self.is_down = asyncio.Event()

    async def prepare(self) -> None:
        self.history.append("raising")
        self._refuse()
        await self.gate.wait()
        self.history.append("raised")

    async def start(self) -> Running:
        self._refuse()
        self.history.append("start")
        return cast(Running, self)

    async def __aexit__(self, *exc: object) -> None:
        self.history.append("down")
        self.is_down.set()

    def _refuse(self) -> None:
        if self.site.trouble is not None:
            raise self.site.trouble


class Site:
    """Makes walls and keeps them in sight."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.made: list[Walls] = []
        self.trouble: OSError | None = None
        self.spares = Spares(self._plain, self._make)

    def _make(self) -> Warm:
        self.made.append(Walls(self))
        return self.made[-1]

    async def _plain(self) -> Running:
        raise AssertionError("it is forked here")


@pytest.fixture
async def site() -> Site:
    return Site()


async def test_what_is_listed_is_started_again_within_its_own_walls(site: Site) -> None:
    async with site.spares.listed() as start:
        assert await start() is await start()
    assert [one.history for one in site.made] == [["start", "start", "down"]]
    await site.spares.close()


@pytest.mark.threat("T-CROSS")
async def test_walls_serve_one_instance_and_the_next_are_raised_ahead(site: Site) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            start = await stack.enter_async_context(site.spares.fresh())
            await start()
            await asyncio.sleep(0)  # the next walls are raised after the start
    await site.spares.close()
    assert [one.history for one in site.made] == [
        ["start", "down"],
        ["raising", "raised", "start", "down"],
        ["raising", "raised", "start", "down"],
        ["raising", "raised", "down"],
    ]


async def test_an_instance_waits_for_walls_that_are_being_raised(site: Site) -> None:
    site.gate.clear()
    async with site.spares.fresh() as start:
        await start()
        async with asyncio.timeout(WAIT_S):
            asyncio.get_running_loop().call_soon(site.gate.set)
            async with site.spares.fresh() as second:
                assert cast(Any, await second()) is site.made[1]
    await site.spares.close()
    assert all(one.history[-1:] in ([], ["down"]) for one in site.made)


async def test_walls_that_nobody_waits_for_any_more_come_down(site: Site) -> None:
    site.gate.clear()
    async with site.spares.fresh() as start:
        await start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), site.spares.fresh():
                raise AssertionError("they are not raised yet")
    await asyncio.wait_for(site.made[1].is_down.wait(), WAIT_S)
    async with site.spares.fresh() as start:
        await start()
        await asyncio.sleep(0)
    await site.spares.close()
    assert [one.history[-1] for one in site.made] == ["down"] * 4


async def test_walls_that_could_not_be_raised_ahead_are_raised_when_they_are_wanted(site: Site) -> None:
    async with site.spares.fresh() as start:
        await start()
        site.trouble = OSError("too many open files")
        await asyncio.sleep(0)
        site.trouble = None
        async with site.spares.fresh() as second:
            assert cast(Any, await second()) is site.made[2]
    await site.spares.close()
    assert all(one.history[-1:] in ([], ["down"]) for one in site.made)


async def test_what_is_still_in_the_way_is_told_to_whoever_wants_walls(site: Site) -> None:
    async with site.spares.fresh() as start:
        await start()
        site.trouble = OSError("too many open files")
        await asyncio.sleep(0)
        async with site.spares.fresh() as second:
            with pytest.raises(OSError, match="too many open files"):
                await second()
    await site.spares.close()


async def test_what_cannot_be_forked_is_started_in_the_ordinary_way() -> None:
    started: list[None] = []

    async def plain() -> Running:
        started.append(None)
        return cast(Running, started)

    spares = Spares(plain, None)
    async with spares.listed() as listed, spares.fresh() as fresh:
        await listed()
        await fresh()
    await spares.close()
    assert len(started) == 2
