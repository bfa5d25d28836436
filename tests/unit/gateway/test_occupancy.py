"""Which connections may stay: strangers and idle ones make room, the greediest is cut, also across workers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.gateway.connecting import a_call, join, large, limits, modern, raw, turn

from sekisho.gateway import Front, SharedBudget, SharedMemory, SharedSeats
from sekisho.gateway.occupancy import END_AT_ONCE, WORTH_COUNTING, Occupancy
from sekisho.protocol import HttpLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


class Silent:
    """A connection that says nothing until its time is over."""

    def __init__(self, occupancy: Occupancy, deadline: float) -> None:
        self._occupancy = occupancy
        self.client: str | None = None
        self.deadline = deadline
        self.is_idle = True
        self.ended = asyncio.Event()

    def is_late(self, now: float) -> bool:
        return self.deadline <= now

    def expire(self, now: float) -> None:
        assert self.is_late(now)
        self._occupancy.leave(self)
        self.ended.set()

    def let_go(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.ended.set()


@pytest.mark.threat("T-FLOOD")
async def test_a_crowd_that_is_late_together_is_ended_a_few_at_a_time_and_whole() -> None:
    occupancy = Occupancy(limits(idle_timeout_s=0.01))
    now = asyncio.get_running_loop().time()
    crowd = [Silent(occupancy, now) for _ in range(5 * END_AT_ONCE)]
    for one in crowd:
        assert occupancy.enter(one)
    async with asyncio.timeout(60):
        while before := occupancy.count:
            await asyncio.sleep(0)
            assert before - occupancy.count <= END_AT_ONCE
            if before == 3 * END_AT_ONCE:  # one is gone, and one has sent something
                crowd = [one for one in crowd if not one.ended.is_set()]
                occupancy.leave(crowd[0])
                crowd[1].deadline = now + 3600
                break
        gone, early, *late = crowd
        for one in late:
            await one.ended.wait()
    assert not gone.ended.is_set()
    assert not early.ended.is_set()


@pytest.mark.threat("T-FLOOD")
async def test_whoever_is_late_hears_of_it_and_others_do_not() -> None:
    occupancy = Occupancy(limits(idle_timeout_s=0.01))
    now = asyncio.get_running_loop().time()
    late, early = Silent(occupancy, now + 0.01), Silent(occupancy, now + 3600)
    assert occupancy.enter(late)
    assert occupancy.enter(early)
    async with asyncio.timeout(60):
        await late.ended.wait()
        assert (occupancy.count, early.ended.is_set()) == (1, False)
        occupancy.leave(early)
        again = Silent(occupancy, now)  # the timer of an empty house begins anew
        assert occupancy.enter(again)
        await again.ended.wait()
    assert occupancy.count == 0


async def test_what_a_connection_no_longer_holds_is_free_for_others() -> None:
    occupancy = Occupancy(limits(max_held_bytes=200_000))
    one, two = Silent(occupancy, 0), Silent(occupancy, 0)
    for size in (150_000, 0, 150_000, WORTH_COUNTING - 1):
        occupancy.hold(one, size)
    occupancy.hold(two, 200_000)
    assert not one.ended.is_set()
    assert not two.ended.is_set()
    occupancy.hold(one, 150_000)
    assert (one.ended.is_set(), two.ended.is_set()) == (False, True)


@pytest.mark.threat("T-FLOOD")
async def test_in_a_full_house_silent_strangers_make_room_oldest_first(kit: Kit) -> None:
    front = Front(kit.door, limits(max_connections=3))
    known, known_wire = join(front)
    known.data_received(modern(kit, "tools/list"))
    _, first = join(front)
    _, second = join(front)
    _, third = join(front)
    assert [wire.was_aborted for wire in (known_wire, first, second, third)] == [False, True, False, False]
    assert front.occupancy.count == 3


@pytest.mark.threat("T-FLOOD")
async def test_in_a_house_full_of_clients_the_longest_idle_one_makes_room(kit: Kit) -> None:
    front = Front(kit.door, limits(max_connections=2))
    guests = [join(front) for _ in range(2)]
    for connection, _ in reversed(guests):
        connection.data_received(modern(kit, "tools/list"))
        await turn(kit)
    assert not join(front)[1].was_aborted
    assert [wire.was_aborted for _, wire in guests] == [False, True]


@pytest.mark.threat("T-FLOOD")
async def test_clients_that_are_being_served_are_never_shed(kit: Kit) -> None:
    front = Front(kit.door, limits(max_connections=1))
    connection, wire = join(front)
    connection.data_received(a_call(kit))
    assert join(front)[1].was_aborted
    await turn(kit)
    kit.line.reply()
    await turn(kit)
    assert (wire.statuses, wire.was_aborted) == ([200], False)
    connection.connection_lost(None)
    assert not join(front)[1].was_aborted


@pytest.mark.threat("T-FLOOD")
async def test_a_client_has_so_many_connections_and_others_have_theirs(kit: Kit) -> None:
    front = Front(kit.door, limits(max_connections_per_client=1))
    first, first_wire = join(front)
    second, second_wire = join(front)
    third, third_wire = join(front)
    first.data_received(modern(kit, "tools/list"))
    second.data_received(modern(kit, "tools/list"))
    await turn(kit)
    assert (first_wire.statuses, second_wire.statuses) == ([200], [503])
    assert second_wire.is_closing()
    third.data_received(raw(kit.modern_request("tools/list", token=kit.ben)))
    assert third_wire.statuses == [200]
    first.connection_lost(None)
    fourth, fourth_wire = join(front)
    fourth.data_received(modern(kit, "tools/list"))
    assert fourth_wire.statuses == [200]


@pytest.mark.threat("T-FLOOD")
async def test_a_connection_that_was_shed_is_counted_for_nobody(kit: Kit) -> None:
    front = Front(kit.door, limits(max_connections=1, max_connections_per_client=1))
    shed, _ = join(front)
    kept, wire = join(front)
    assert not shed.admit("aya")
    kept.data_received(modern(kit, "tools/list"))
    assert wire.statuses == [200]


async def test_closing_the_room_cuts_every_connection(kit: Kit) -> None:
    front = Front(kit.door, limits())
    wires = [join(front)[1] for _ in range(3)]
    front.occupancy.close()
    assert all(wire.was_aborted for wire in wires)


class Uncountable:
    """Seats after a worker was stopped while it held their lock."""

    def __init__(self) -> None:
        self.is_stopped = False

    def take(self, name: str, most: int, count: int = 1) -> bool:
        return not self.is_stopped

    def give(self, name: str, count: int = 1) -> None:
        """Nothing is counted."""

    def is_full(self, name: str, most: int) -> bool:
        return self.is_stopped


@pytest.mark.threat("T-FLOOD")
async def test_where_nobody_can_count_a_newcomer_costs_no_more_than_one_connection(kit: Kit) -> None:
    seats = Uncountable()
    front = Front(kit.door, limits(), seats=seats)
    wires = [join(front)[1] for _ in range(4)]
    seats.is_stopped = True
    _, late = join(front)
    assert late.is_closing()
    assert [wire.was_aborted for wire in wires] == [True, False, False, False]


@pytest.mark.threat("T-FLOOD")
async def test_beyond_the_budget_whoever_holds_most_is_cut(kit: Kit) -> None:
    roomy = limits(http=HttpLimits(max_body_bytes=1 << 20), max_held_bytes=300_000)
    front = Front(kit.door, roomy)
    greedy, greedy_wire = join(front)
    modest, modest_wire = join(front)
    greedy.data_received(large(kit, 250_000)[:-10])
    modest.data_received(large(kit, 100_000)[:-10])
    await turn(kit)
    assert greedy_wire.statuses == [503]
    modest.data_received(large(kit, 100_000)[-10:])
    await turn(kit)
    assert modest_wire.statuses == [413]  # the door's own limit on messages


@pytest.fixture
def workers() -> int:
    return 2


def two_fronts(kit: Kit, memories: list[SharedMemory], **bounds: Any) -> tuple[list[Front], list[int]]:
    """The fronts of two workers, and who asked the other for room."""
    asked: list[int] = []
    most = limits(**bounds)
    fronts = [
        Front(
            kit.door,
            most,
            seats=SharedSeats(memory, "connection"),
            budget=SharedBudget(memory, most.max_held_bytes),
            ask_for_room=partial(asked.append, number),
        )
        for number, memory in enumerate(memories)
    ]
    return fronts, asked


@pytest.mark.threat("T-FLOOD")
async def test_two_workers_have_as_many_connections_as_one_and_ask_each_other_for_room(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    (one, two), asked = two_fronts(kit, memories, max_connections=3)
    wires = [join(one)[1] for _ in range(3)]
    assert join(two)[1].was_aborted
    assert asked == [1]
    one.occupancy.make_room()
    assert [wire.was_aborted for wire in wires] == [True, False, False]
    one.occupancy.make_room()  # said twice: there is room already
    assert not wires[1].was_aborted
    late = [join(two)[1] for _ in range(2)]  # the first of them is somebody here who makes room
    assert [wire.was_aborted for wire in late] == [True, False]
    assert asked == [1]


@pytest.mark.threat("T-FLOOD")
async def test_the_connections_of_a_client_are_counted_at_both_workers(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    fronts, _ = two_fronts(kit, memories, max_connections_per_client=1)
    guests = [join(front) for front in fronts]
    for connection, _ in guests:
        connection.data_received(modern(kit, "tools/list"))
        await turn(kit)
    assert [wire.statuses for _, wire in guests] == [[200], [503]]
    guests[0][0].connection_lost(None)
    connection, wire = join(fronts[1])
    connection.data_received(modern(kit, "tools/list"))
    assert wire.statuses == [200]


@pytest.mark.threat("T-FLOOD")
async def test_beyond_the_budget_of_both_workers_whoever_holds_most_is_cut_at_either(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    roomy = HttpLimits(max_body_bytes=1 << 20)
    (one, two), asked = two_fronts(kit, memories, http=roomy, max_held_bytes=300_000)
    greedy, greedy_wire = join(one)
    modest, modest_wire = join(two)
    greedy.data_received(large(kit, 250_000)[:-10])
    modest.data_received(large(kit, 100_000)[:-10])
    await turn(kit)
    assert asked == [1]
    assert not modest_wire.statuses
    one.occupancy.make_room()
    await turn(kit)
    assert greedy_wire.statuses == [503]
    modest.data_received(large(kit, 100_000)[-10:])
    await turn(kit)
    assert modest_wire.statuses == [413]  # the door's own limit on messages
