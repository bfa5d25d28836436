"""A plugin's share: connections exactly, bytes a minute by debt, bytes a turn by waiting; all with a clock of our own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.share import BURST_S, LOOK_BYTES, READ_BYTES, Allowance, Share

MINUTE = 60_000_000  # bytes a minute: a million a second
BURST = int(1_000_000 * BURST_S)


def test_what_is_within_the_allowance_makes_no_debt() -> None:
    bucket = Allowance(MINUTE)
    bucket.take(BURST, 100.0)
    assert bucket.debt_s(100.0) == 0.0
    bucket.take(1_000_000, 100.0)
    assert bucket.debt_s(100.0) == pytest.approx(1.0)
    assert bucket.debt_s(100.5) == pytest.approx(0.5)
    assert bucket.debt_s(102.0) == 0.0


def test_no_limit_makes_no_debt() -> None:
    bucket = Allowance(0)
    bucket.take(1 << 50, 1.0)
    assert bucket.debt_s(1.0) == 0.0


@pytest.mark.threat("T-FLOOD")
@given(reads=st.lists(st.tuples(st.integers(1, READ_BYTES), st.floats(0, 2)), max_size=200))
def test_whoever_waits_out_its_debt_never_moves_more_than_the_rate_and_one_burst(
    reads: list[tuple[int, float]],
) -> None:
    bucket, now, moved = Allowance(MINUTE), 1.0, 0
    for count, pause in reads:
        now += pause
        now += bucket.debt_s(now)
        bucket.take(count, now)
        moved += count
        assert moved <= BURST + (now - 1.0) * 1_000_000 + READ_BYTES + 1


@given(times=st.lists(st.floats(0, 1e6), max_size=30))
def test_a_clock_that_goes_back_gives_nothing(times: list[float]) -> None:
    bucket = Allowance(MINUTE)
    bucket.take(BURST, 1e6)
    bucket.take(1, 1e6)
    assert all(bucket.debt_s(now) > 0 for now in times)


def test_connections_are_counted_exactly() -> None:
    share = Share(max_connections=2)
    assert [share.enter(), share.enter(), share.enter()] == [True, True, False]
    share.leave()
    assert [share.enter(), share.enter()] == [True, False]


async def test_a_turn_has_so_many_bytes_and_the_next_one_as_many_again() -> None:
    share = Share(turn_bytes=2 * LOOK_BYTES)
    assert share.room() == 2 * LOOK_BYTES
    share.charge(1)  # a crumb costs a look
    assert share.room() == LOOK_BYTES
    share.charge(5 * LOOK_BYTES)
    assert share.room() == 0
    assert await share.wait_room() == 2 * LOOK_BYTES


async def test_whoever_waited_longest_comes_first() -> None:
    share = Share(turn_bytes=LOOK_BYTES)
    order: list[int] = []

    async def take(number: int) -> None:
        await share.wait_room()
        order.append(number)
        share.charge(LOOK_BYTES)

    share.charge(LOOK_BYTES)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take(number)) for number in range(6)]
        await asyncio.sleep(0)
        tasks[2].cancel()
    assert order == [0, 1, 3, 4, 5]


async def test_being_slowed_down_is_said_once_a_minute() -> None:
    said: list[int] = []
    share = Share(bytes_per_minute=60, on_slow=lambda: said.append(1))
    share.charge(int(60 * BURST_S))
    share.charge(1000)
    share.charge(1000)
    assert said == [1]
    assert share.room() == 0
    assert share.debt_s() > 0


async def test_work_uses_up_the_turn_and_nothing_of_the_minute() -> None:
    share = Share(bytes_per_minute=1_000, turn_bytes=10_000)
    share.spend(10_000)
    assert (share.room(), share.debt_s()) == (0, 0.0)
    assert await share.wait_room() > 0
