"""Pace: one piece in each turn, of one connection after the other; of a crowd that trickles a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sekisho.gateway.pace import (
    CRUMBS_AT_ONCE,
    HEARD_AT_ONCE,
    STRANGERS_AT_ONCE,
    Crumbs,
    Few,
    Strangers,
    Turns,
)

pytestmark = pytest.mark.threat("T-FLOOD")


class Guest:
    """A connection with so many pieces left to do, which says when it did one."""

    def __init__(self, name: str, left: int, told: Callable[[str], None]) -> None:
        self.name = name
        self.left = left
        self.is_resting = False
        self._told = told

    def go_on(self) -> bool:
        if not self.left:
            return False
        self.left -= 1
        self._told(self.name)
        return True

    def rest(self) -> None:
        self.is_resting = True

    def read_again(self) -> None:
        self.is_resting = False


class Again(Guest):
    """One that joins the line again while it has something left."""

    turns: Turns

    def go_on(self) -> bool:
        did = super().go_on()
        if self.left:
            self.turns.join(self)
        return did


async def turns_of_the_loop(count: int, each: Callable[[], None]) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
        each()


async def test_one_piece_is_done_in_each_turn_of_the_loop_and_everybody_comes_in_turn() -> None:
    turns, done, seen = Turns(), list[str](), list[int]()
    for name in "abc":
        guest = Again(name, 3, done.append)
        guest.turns = turns
        turns.join(guest)
    await turns_of_the_loop(12, lambda: seen.append(len(done)))
    assert "".join(done) == "abcabcabc"
    assert all(after - before <= 1 for before, after in zip([0, *seen], seen, strict=False))
    assert seen[-1] == 9


async def test_whoever_has_nothing_left_costs_nobody_a_turn() -> None:
    turns, done = Turns(), list[str]()
    for left in (0, 0, 0, 1):
        turns.join(Guest("x", left, done.append))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["x"]


async def test_a_line_that_ran_empty_begins_anew() -> None:
    turns, done = Turns(), list[str]()
    for _ in range(3):
        turns.join(Guest("x", 1, done.append))
        await turns_of_the_loop(3, lambda: None)
    assert done == ["x"] * 3


async def test_the_line_waits_a_moment_for_who_came_alone_and_is_not_put_off_for_ever() -> None:
    turns, done = Turns(), list[str]()
    guest = Again("x", 5, done.append)
    guest.turns = turns
    turns.join(guest)
    turns.came_alone = True
    await asyncio.sleep(0)
    assert done == []
    async with asyncio.timeout(20):
        while len(done) < 5:
            turns.came_alone = True  # somebody always comes
            await asyncio.sleep(0)


async def test_of_a_crowd_that_trickles_a_few_are_read_at_a_time_and_all_come_again() -> None:
    crumbs = Crumbs()
    crowd = [Guest(str(number), 0, list[str]().append) for number in range(3 * CRUMBS_AT_ONCE)]
    for one in crowd:
        crumbs.count(one, 0.0)
    assert not any(one.is_resting for one in crowd[:CRUMBS_AT_ONCE])
    assert all(one.is_resting for one in crowd[CRUMBS_AT_ONCE:])
    fewest = sum(one.is_resting for one in crowd)
    async with asyncio.timeout(20):
        while fewest:
            await asyncio.sleep(0)
            now = sum(one.is_resting for one in crowd)
            assert fewest - now <= 4  # in one turn
            fewest = now


async def test_a_few_crumbs_are_always_read() -> None:
    crumbs, guest = Crumbs(), Guest("x", 0, list[str]().append)
    for _ in range(CRUMBS_AT_ONCE):
        crumbs.count(guest, 0.0)
    assert not guest.is_resting


async def test_a_request_that_began_a_moment_ago_does_not_rest_behind_all_that_take_long() -> None:
    crumbs, told = Crumbs(), list[str]()
    crowd = [Guest(str(number), 0, told.append) for number in range(20 * CRUMBS_AT_ONCE)]
    for one in crowd:
        crumbs.count(one, 0.0)
    young = Guest("young", 0, told.append)
    crumbs.count(young, asyncio.get_running_loop().time())
    resting = {one.name for one in (*crowd, young) if one.is_resting}
    async with asyncio.timeout(60):
        while (now := {one.name for one in (*crowd, young) if one.is_resting}) == resting:  # noqa: ASYNC110  # time passes
            await asyncio.sleep(0)
    assert "young" in resting - now


def test_few_are_so_many_in_a_moment_and_as_many_in_the_next() -> None:
    few = Few(3)
    assert [few.count(now) for now in (1.0, 1.001, 1.002, 1.003, 1.009)] == [True, True, True, False, False]
    assert [few.count(now) for now in (1.02, 1.021, 1.022, 1.023)] == [True, True, True, False]
    few.discount()
    few.discount()
    assert [few.count(now) for now in (1.024, 1.025)] == [True, False]
    few.discount()
    assert few.count(2.0)
    few.discount()
    few.discount()  # of the moment before
    assert [few.count(2.0) for _ in range(4)] == [True, True, True, False]


def test_strangers_who_become_known_take_nobody_s_place() -> None:
    strangers = Strangers()
    for _ in range(3 * STRANGERS_AT_ONCE):
        assert strangers.may_speak(1.0)
        strangers.one_is_known()
    assert [strangers.may_speak(1.0) for _ in range(STRANGERS_AT_ONCE + 1)] == [True] * STRANGERS_AT_ONCE + [
        False
    ]


def heard(strangers: Strangers, done: list[str], names: list[str], *, is_new: bool) -> None:
    for name in names:
        strangers.join(Guest(name, 1, done.append), is_new=is_new)


async def all_heard(done: list[str], count: int) -> None:
    """No more than a few in one turn."""
    async with asyncio.timeout(60):
        while len(done) < count:
            before = len(done)
            await asyncio.sleep(0)
            assert len(done) - before <= HEARD_AT_ONCE


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_few_strangers_are_heard_at_a_time_in_the_order_they_came(is_new: bool) -> None:
    strangers, done = Strangers(), list[str]()
    names = [str(number) for number in range(5 * HEARD_AT_ONCE)]
    heard(strangers, done, names, is_new=is_new)
    assert done == []
    await all_heard(done, len(names))
    assert done == names
    heard(strangers, done, ["again"], is_new=is_new)  # a line that ran empty begins anew
    await all_heard(done, len(names) + 1)
    assert done[-1] == "again"


async def test_whoever_is_new_is_heard_before_all_who_were_refused() -> None:
    strangers, done = Strangers(), list[str]()
    heard(strangers, done, ["refused"] * 50 * HEARD_AT_ONCE, is_new=False)
    heard(strangers, done, ["new"], is_new=True)
    await all_heard(done, HEARD_AT_ONCE)
    assert "new" in done[:HEARD_AT_ONCE]


async def test_a_crowd_of_new_ones_shuts_nobody_out_who_was_refused() -> None:
    """A client that asked without a token, and has one now."""
    strangers, done = Strangers(), list[str]()
    heard(strangers, done, ["new"] * 50 * HEARD_AT_ONCE, is_new=True)
    heard(strangers, done, ["refused"], is_new=False)
    await all_heard(done, HEARD_AT_ONCE)
    assert "refused" in done[:HEARD_AT_ONCE]


async def test_whoever_comes_again_from_its_turn_stands_behind_the_others() -> None:
    strangers, done = Strangers(), list[str]()

    class Back(Guest):
        def go_on(self) -> bool:
            super().go_on()
            if self.left:
                strangers.join(self, is_new=False)
            return True

    for name in "abcdefgh":
        strangers.join(Back(name, 2, done.append), is_new=False)
    await all_heard(done, 16)
    assert "".join(done) == "abcdefgh" * 2
