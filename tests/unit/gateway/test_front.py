"""The front: answers in order, and a client that is slow, greedy or gone costs little."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.gateway import Front, FrontLimits, Room, SharedBudget, SharedMemory, SharedSeats
from sekisho.gateway.front import COALESCED, READ_AT_ONCE
from sekisho.gateway.pace import CRUMBS_AT_ONCE
from sekisho.policy import RateRule
from sekisho.protocol import HttpLimits, HttpRequest, JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


class Wire(asyncio.Transport):
    """A client's end in memory: collects what is written, and hears of the end."""

    def __init__(self, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self.sent = b""
        self.ended = asyncio.Event()
        self.was_aborted = False
        self.is_paused = False
        self.has_ended_writing = False
        self.on_write: Callable[[], None] = lambda: None

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.sent += bytes(data)
        self.on_write()

    def is_closing(self) -> bool:
        return self.ended.is_set()

    def close(self) -> None:
        self.ended.set()

    def abort(self) -> None:
        self.was_aborted = True
        self.ended.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_ended_writing = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.sent)]

    async def wait_ended(self) -> None:
        async with asyncio.timeout(20):
            await self.ended.wait()


def limits(**changes: Any) -> FrontLimits:
    return FrontLimits(**{"http": HttpLimits(max_head_bytes=4096, max_body_bytes=2048), **changes})


def join(room: Room, extra: dict[str, Any] | None = None) -> tuple[Front, Wire]:
    front = room.connect()
    assert isinstance(front, Front)
    wire = Wire(extra)
    front.connection_made(wire)
    return front, wire


def raw(request: HttpRequest) -> bytes:
    headers = {**request.headers, "content-length": str(len(request.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


def modern(kit: Kit, method: str, params: dict[str, Any] | None = None) -> bytes:
    return raw(kit.modern_request(method, params))


def a_call(kit: Kit, value: int = 1) -> bytes:
    return modern(kit, "tools/call", {"name": "calc__add", "arguments": {"a": value}})


async def turn(kit: Kit) -> None:
    """Let callbacks of this turn and the log's answers to them happen."""
    for _ in range(8):
        kit.log.settle()
        ran = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(ran.set_result, None)
        await ran


async def answers(kit: Kit, wire: Wire, count: int) -> list[int]:
    """The statuses of so many answers, once they are there: who stands in line may wait a moment for who came alone."""
    async with asyncio.timeout(20):
        while len(wire.statuses) < count:
            await turn(kit)
    return wire.statuses


async def test_a_request_in_pieces_is_answered_once_it_is_whole(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    for byte in modern(kit, "tools/list"):
        assert wire.sent == b""
        front.data_received(bytes([byte]))
    assert wire.statuses == [200]
    assert not wire.is_closing()


async def test_pipelined_requests_are_answered_in_their_order(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit, 1) + modern(kit, "tools/list") + a_call(kit, 2))
    await turn(kit)
    assert (len(kit.line.frames), wire.sent) == (1, b"")
    kit.line.reply()
    await turn(kit)
    assert (len(kit.line.frames), wire.statuses) == (2, [200, 200])
    kit.line.reply()
    await turn(kit)
    assert wire.statuses == [200, 200, 200]


@pytest.mark.threat("T-PARSER")
async def test_garbage_behind_a_call_is_refused_after_the_answer_to_the_call(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit))
    await turn(kit)
    front.data_received(b"\0garbage\r\n\r\n")
    front.data_received(a_call(kit))
    await turn(kit)
    assert wire.sent == b""
    kit.line.reply()
    assert await answers(kit, wire, 2) == [200, 400]
    assert wire.is_closing()
    assert len(kit.line.frames) == 1


async def test_a_client_that_is_gone_withdraws_its_call(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit))
    await turn(kit)
    wire.close()
    front.connection_lost(None)
    await turn(kit)
    assert (kit.line.cancelled, kit.road.in_flight, wire.sent) == ([1], 0, b"")
    assert kit.log.entries[-1]["code"] == "cancelled"


async def test_a_client_gone_before_the_intent_is_on_record_causes_no_call(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit))
    wire.close()
    front.connection_lost(None)
    await turn(kit)
    assert (kit.line.frames, kit.road.in_flight) == ([], 0)


@pytest.mark.threat("T-FLOOD")
async def test_a_request_that_trickles_in_is_cut_off(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits(request_timeout_s=0.01)))
    front.data_received(modern(kit, "tools/list")[:40])
    loop = asyncio.get_running_loop()
    fired = loop.create_future()
    loop.call_later(0.01, fired.set_result, None)  # later than the front's own timer of the same length
    front.data_received(b"x")
    await fired
    await turn(kit)
    await wire.wait_ended()
    assert wire.statuses == [408]


@pytest.mark.threat("T-FLOOD")
async def test_a_silent_connection_is_closed_without_a_word(kit: Kit) -> None:
    _, wire = join(Room(kit.door, limits(request_timeout_s=0.01)))
    await wire.wait_ended()
    assert wire.sent == b""


@pytest.mark.threat("T-FLOOD")
async def test_an_idle_connection_is_closed(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits(idle_timeout_s=0.01)))
    front.data_received(modern(kit, "tools/list"))
    await wire.wait_ended()
    assert wire.statuses == [200]


@pytest.mark.threat("T-FLOOD")
async def test_a_body_beyond_the_limit_is_413_before_it_is_sent(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2049\r\n\r\n")
    await turn(kit)
    assert wire.statuses == [413]
    assert wire.is_closing()


@pytest.mark.threat("T-FLOOD")
async def test_too_many_pipelined_requests_end_the_connection(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits(max_pipelined=2)))
    front.data_received(modern(kit, "tools/list") * 4)
    await turn(kit)
    assert wire.statuses == [200, 200, 200, 503]
    assert wire.is_closing()


@pytest.mark.threat("T-FLOOD")
async def test_in_a_full_house_silent_strangers_make_room_oldest_first(kit: Kit) -> None:
    room = Room(kit.door, limits(max_connections=3))
    known, known_wire = join(room)
    known.data_received(modern(kit, "tools/list"))
    _, first = join(room)
    _, second = join(room)
    _, third = join(room)
    assert [wire.was_aborted for wire in (known_wire, first, second, third)] == [False, True, False, False]
    assert len(room.fronts) == 3


@pytest.mark.threat("T-FLOOD")
async def test_in_a_house_full_of_clients_the_longest_idle_one_makes_room(kit: Kit) -> None:
    room = Room(kit.door, limits(max_connections=2))
    guests = [join(room) for _ in range(2)]
    for front, _ in reversed(guests):
        front.data_received(modern(kit, "tools/list"))
        await turn(kit)
    assert not join(room)[1].was_aborted
    assert [wire.was_aborted for _, wire in guests] == [False, True]


@pytest.mark.threat("T-FLOOD")
async def test_clients_that_are_being_served_are_never_shed(kit: Kit) -> None:
    room = Room(kit.door, limits(max_connections=1))
    front, wire = join(room)
    front.data_received(a_call(kit))
    assert join(room)[1].was_aborted
    await turn(kit)
    kit.line.reply()
    await turn(kit)
    assert (wire.statuses, wire.was_aborted) == ([200], False)
    front.connection_lost(None)
    assert not join(room)[1].was_aborted


@pytest.mark.threat("T-FLOOD")
async def test_a_client_has_so_many_connections_and_others_have_theirs(kit: Kit) -> None:
    room = Room(kit.door, limits(max_connections_per_client=1))
    first, first_wire = join(room)
    second, second_wire = join(room)
    third, third_wire = join(room)
    first.data_received(modern(kit, "tools/list"))
    second.data_received(modern(kit, "tools/list"))
    await turn(kit)
    assert (first_wire.statuses, second_wire.statuses) == ([200], [503])
    assert second_wire.is_closing()
    third.data_received(raw(kit.modern_request("tools/list", token=kit.ben)))
    assert third_wire.statuses == [200]
    first.connection_lost(None)
    fourth, fourth_wire = join(room)
    fourth.data_received(modern(kit, "tools/list"))
    assert fourth_wire.statuses == [200]


async def test_pieces_of_an_answer_leave_as_they_come_unless_the_client_lags(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit))
    assert front.begin(b"piece")
    await asyncio.sleep(0)
    assert wire.sent == b"piece"
    front.pause_writing()
    assert not front.begin(b"late")
    front.resume_writing()
    assert front.begin(b"again")
    await asyncio.sleep(0)
    assert wire.sent == b"pieceagain"


async def test_pieces_of_one_turn_leave_in_one_write_and_in_order(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    writes: list[int] = []
    wire.on_write = lambda: writes.append(len(wire.sent))
    front.data_received(a_call(kit))
    assert front.begin(b"a")
    assert front.begin(b"b")
    front.answer(b"c")
    assert wire.sent == b"abc"
    await asyncio.sleep(0)
    front.data_received(a_call(kit))
    assert front.begin(b"d")
    assert front.begin(b"e" * COALESCED), "what is large does not wait for the end of the turn"
    assert wire.sent == b"abcd" + b"e" * COALESCED
    assert front.begin(b"f")
    await asyncio.sleep(0)
    assert wire.sent.endswith(b"ef")
    assert writes == [3, 4 + COALESCED, 5 + COALESCED]


async def test_pieces_are_not_sent_to_a_client_that_is_gone(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit))
    assert front.begin(b"piece")
    front.connection_lost(None)
    await asyncio.sleep(0)
    assert wire.sent == b""


@pytest.mark.threat("T-FLOOD")
async def test_a_client_that_does_not_read_is_cut_off(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits(send_timeout_s=0.01)))
    front.pause_writing()
    assert wire.is_paused
    async with asyncio.timeout(20):
        await wire.ended.wait()
    assert wire.was_aborted


async def test_a_client_that_catches_up_is_served_on(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.pause_writing()
    front.resume_writing()
    front.data_received(modern(kit, "tools/list"))
    await turn(kit)
    assert not wire.is_paused
    assert wire.statuses == [200]


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    head, _, body = raw(kit.modern_request("tools/list", headers={"expect": "100-continue"})).partition(
        b"\r\n\r\n"
    )
    front.data_received(head + b"\r\n\r\n")
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    front.data_received(body)
    await turn(kit)
    assert wire.statuses[-1] == 200


async def test_connection_close_is_honoured_and_what_follows_ignored(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(raw(kit.modern_request("tools/list", headers={"connection": "close"})))
    front.data_received(modern(kit, "tools/list"))
    await turn(kit)
    assert wire.statuses == [200]
    assert wire.is_closing()


async def test_closing_the_room_cuts_every_connection(kit: Kit) -> None:
    room = Room(kit.door, limits())
    wires = [join(room)[1] for _ in range(3)]
    room.close()
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
    room = Room(kit.door, limits(), seats=seats)
    wires = [join(room)[1] for _ in range(4)]
    seats.is_stopped = True
    _, late = join(room)
    assert late.is_closing()
    assert [wire.was_aborted for wire in wires] == [True, False, False, False]


async def test_what_the_loop_puts_into_the_buffer_is_read(kit: Kit) -> None:
    room = Room(kit.door, limits())
    guests = [join(room) for _ in range(2)]
    for front, wire in guests:
        message = modern(kit, "tools/list")
        front.get_buffer(-1)[: len(message)] = message
        front.buffer_updated(len(message))
        assert wire.statuses == [200]


async def test_it_serves_a_real_socket(kit: Kit) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Room(kit.door, limits()).connect, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(modern(kit, "tools/list"))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["result"]["tools"]
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_ends_its_half_first_has_its_answer_and_troubles_nobody(kit: Kit) -> None:
    loop, troubles = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, trouble: troubles.append(trouble))
    server = await loop.create_server(Room(kit.door, limits()).connect, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(modern(kit, "tools/list"))
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
    assert troubles == []


def large(kit: Kit, size: int = 1000, **fields: Any) -> bytes:
    return raw(kit.modern_request("tools/list", {"x": "x" * size}, **fields))


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(("fields", "status"), [({"token": None}, 401), ({"target": "/x"}, 404)])
async def test_nobody_makes_us_hold_a_body_before_its_head_was_judged(
    kit: Kit, fields: dict[str, Any], status: int
) -> None:
    front, wire = join(Room(kit.door, limits()))
    message = large(kit, **fields)
    front.data_received(message[:-500])
    await turn(kit)
    assert wire.statuses == [status]
    assert wire.has_ended_writing
    front.data_received(message[-500:] + modern(kit, "tools/list"))
    await turn(kit)
    assert wire.statuses == [status]


async def test_the_body_of_a_known_client_is_waited_for_and_judged_once(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    message = large(kit)
    for piece in (message[:-500], message[-500:-200], message[-200:]):
        assert wire.sent == b""
        front.data_received(piece)
    await turn(kit)
    assert wire.statuses == [200]
    front.data_received(large(kit, token=None)[:-10])
    await turn(kit)
    assert wire.statuses == [200, 401]


async def test_a_refused_body_is_waited_out_so_that_the_answer_arrives(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(large(kit, token=None)[:-10])
    await turn(kit)
    assert not wire.is_closing()
    await wire.wait_ended()


@pytest.mark.threat("T-FLOOD")
async def test_beyond_the_budget_whoever_holds_most_is_cut(kit: Kit) -> None:
    roomy = limits(http=HttpLimits(max_body_bytes=1 << 20), max_held_bytes=300_000)
    room = Room(kit.door, roomy)
    greedy, greedy_wire = join(room)
    modest, modest_wire = join(room)
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


def two_rooms(kit: Kit, memories: list[SharedMemory], **bounds: Any) -> tuple[list[Room], list[int]]:
    """The rooms of two workers, and who asked the other for room."""
    asked: list[int] = []
    most = limits(**bounds)
    rooms = [
        Room(
            kit.door,
            most,
            seats=SharedSeats(memory, "connection"),
            budget=SharedBudget(memory, most.max_held_bytes),
            ask_for_room=partial(asked.append, number),
        )
        for number, memory in enumerate(memories)
    ]
    return rooms, asked


@pytest.mark.threat("T-FLOOD")
async def test_two_workers_have_as_many_connections_as_one_and_ask_each_other_for_room(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    (one, two), asked = two_rooms(kit, memories, max_connections=3)
    wires = [join(one)[1] for _ in range(3)]
    assert join(two)[1].was_aborted
    assert asked == [1]
    one.make_room()
    assert [wire.was_aborted for wire in wires] == [True, False, False]
    one.make_room()  # said twice: there is room already
    assert not wires[1].was_aborted
    late = [join(two)[1] for _ in range(2)]  # the first of them is somebody here who makes room
    assert [wire.was_aborted for wire in late] == [True, False]
    assert asked == [1]


@pytest.mark.threat("T-FLOOD")
async def test_the_connections_of_a_client_are_counted_at_both_workers(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    rooms, _ = two_rooms(kit, memories, max_connections_per_client=1)
    guests = [join(room) for room in rooms]
    for front, _ in guests:
        front.data_received(modern(kit, "tools/list"))
        await turn(kit)
    assert [wire.statuses for _, wire in guests] == [[200], [503]]
    guests[0][0].connection_lost(None)
    front, wire = join(rooms[1])
    front.data_received(modern(kit, "tools/list"))
    assert wire.statuses == [200]


@pytest.mark.threat("T-FLOOD")
async def test_beyond_the_budget_of_both_workers_whoever_holds_most_is_cut_at_either(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    roomy = HttpLimits(max_body_bytes=1 << 20)
    (one, two), asked = two_rooms(kit, memories, http=roomy, max_held_bytes=300_000)
    greedy, greedy_wire = join(one)
    modest, modest_wire = join(two)
    greedy.data_received(large(kit, 250_000)[:-10])
    modest.data_received(large(kit, 100_000)[:-10])
    await turn(kit)
    assert asked == [1]
    assert not modest_wire.statuses
    one.make_room()
    await turn(kit)
    assert greedy_wire.statuses == [503]
    modest.data_received(large(kit, 100_000)[-10:])
    await turn(kit)
    assert modest_wire.statuses == [413]  # the door's own limit on messages


@pytest.mark.threat("T-FLOOD")
async def test_unread_answers_count_and_are_forgotten_when_read(kit: Kit) -> None:
    room = Room(kit.door, limits(max_held_bytes=150_000))
    guests = [join(room) for _ in range(2)]
    for front, _ in guests:
        front.answer(b"x" * 100_000)  # it leaves at once
    assert not any(wire.was_aborted for _, wire in guests)
    for front, _ in guests:
        front.pause_writing()
        front.answer(b"x" * 70_000)
        front.resume_writing()
    assert not any(wire.was_aborted for _, wire in guests)
    for front, _ in guests:
        front.pause_writing()
        front.answer(b"x" * 100_000)
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_large_pieces_that_are_left_unread_count_too(kit: Kit) -> None:
    room = Room(kit.door, limits(max_held_bytes=150_000))
    guests = [join(room) for _ in range(2)]
    for front, wire in guests:
        wire.on_write = front.pause_writing  # as a transport does whose buffer is full
        assert front.begin(b"x" * 100_000)
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_answers_in_parts_that_are_left_unread_count_too(kit: Kit) -> None:
    room = Room(kit.door, limits(max_held_bytes=150_000))
    guests = [join(room) for _ in range(2)]
    for front, wire in guests:
        front.answer_in_parts([b"head", memoryview(b"x" * 100_000)[1:], b"end"])  # it leaves at once
        assert wire.sent == b"head" + b"x" * 99_999 + b"end"
    assert not any(wire.was_aborted for _, wire in guests)
    for front, _ in guests:
        front.pause_writing()
        front.answer_in_parts([b"x" * 50_000, b"x" * 50_000])
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_a_request_behind_it_does_not_hide_what_is_left_unread(kit: Kit) -> None:
    room = Room(kit.door, limits(max_held_bytes=150_000))
    guests = [join(room) for _ in range(2)]
    for front, wire in guests:
        front.data_received(a_call(kit) + a_call(kit)[:-10])
        wire.on_write = front.pause_writing
        front.answer(b"x" * 100_000)
        await turn(kit)
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_no_answer_is_made_while_one_is_left_unread(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    wire.on_write = front.pause_writing  # as a transport does whose buffer is full
    front.data_received(modern(kit, "tools/list") * 3 + b"no http\r\n\r\n")
    for answered in (1, 2):
        await turn(kit)
        assert wire.statuses == [200] * answered
        front.resume_writing()
    await turn(kit)
    assert wire.statuses == [200, 200, 200, 400]


@pytest.mark.threat("T-FLOOD")
async def test_requests_that_wait_count_whole_as_they_are(kit: Kit) -> None:
    roomy = limits(http=HttpLimits(max_body_bytes=1 << 20), max_held_bytes=300_000)
    room = Room(kit.door, roomy)
    greedy, greedy_wire = join(room)
    modest, modest_wire = join(room)
    greedy.data_received(a_call(kit) + large(kit, 100_000) * 2)
    modest.data_received(a_call(kit) + large(kit, 90_000))
    await turn(kit)
    greedy.data_received(large(kit, 100_000) + large(kit, 100_000)[:-10])
    await turn(kit)
    assert not greedy_wire.sent, "its call goes on"
    for _ in range(2):
        kit.line.reply()
        await turn(kit)
    assert greedy_wire.statuses == [200, 503]
    assert greedy_wire.has_ended_writing, "a request was under way: the answer must not be lost with it"
    assert modest_wire.statuses == [200, 413]  # the door's own limit on messages


async def test_parts_follow_what_was_begun_and_come_whole_over_tls(kit: Kit) -> None:
    room = Room(kit.door, limits())
    front, wire = join(room)
    assert front.begin(b"begun ")
    front.answer_in_parts([b"head ", memoryview(b"body")])
    assert wire.sent == b"begun head body"
    front, wire = join(room, extra={"sslcontext": object()})
    front.answer_in_parts([b"x" * 300_000, memoryview(b"y" * 300_000)])
    assert wire.sent == b"x" * 300_000 + b"y" * 300_000
    wire.close()
    front.answer_in_parts([b"to nobody"])
    assert wire.sent.endswith(b"y")


@pytest.mark.threat("T-FLOOD")
async def test_over_tls_a_large_answer_is_sent_as_the_client_takes_it(kit: Kit) -> None:
    room = Room(kit.door, limits(max_held_bytes=600_000))
    front, wire = join(room, extra={"sslcontext": object()})
    data = bytes(range(256)) * 4096
    sent: list[int] = []

    def write(piece: Any) -> None:
        wire.sent += bytes(piece)
        sent.append(len(piece))
        front.pause_writing()

    wire.write = write  # type: ignore[assignment]
    front.admit("aya")
    front.answer(data[:700_000])
    while wire.sent != data[:700_000]:
        assert not wire.was_aborted
        front.resume_writing()
    assert max(sent) == 256 << 10
    front.resume_writing()
    front.data_received(modern(kit, "tools/list"))
    assert b"HTTP/1.1 200" in wire.sent[700_000:]
    front.answer(data)
    assert wire.was_aborted  # more is left unread than may be held


async def test_as_many_requests_as_may_wait_may_also_come_at_once(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits(max_pipelined=2)))
    front.data_received(modern(kit, "tools/list") * 3)
    await turn(kit)
    assert wire.statuses == [200] * 3
    front.data_received(modern(kit, "tools/list") * 4)
    await turn(kit)
    assert wire.statuses == [200] * 6 + [503]


@pytest.mark.threat("T-FLOOD")
async def test_requests_that_come_together_take_turns_with_everybody_else(kit: Kit) -> None:
    """However many connections have however many, one request of theirs is answered in each turn of the loop."""
    kit.change(client_rate=RateRule(per_minute=6000))
    room = Room(kit.door, limits())
    crowd = [join(room) for _ in range(6)]
    for front, _ in crowd:
        front.data_received(modern(kit, "tools/list") * 9)
    answered = [0]
    front, wire = join(room)
    async with asyncio.timeout(20):
        while answered[-1] < 54:
            if len(answered) == 20:
                front.data_received(modern(kit, "tools/list"))
                assert wire.statuses == [200]  # at once: it stands behind nobody
            await asyncio.sleep(0)
            answered.append(sum(len(wire.statuses) for _, wire in crowd))
            assert answered[-1] - answered[-2] <= 1
    assert answered[19] < 20
    assert answered[19] == answered[20]  # and the line waits a moment for it
    assert all(wire.statuses == [200] * 9 for _, wire in crowd)
    assert not any(wire.is_paused or wire.is_closing() for _, wire in crowd)


@pytest.mark.threat("T-FLOOD")
async def test_a_long_pipeline_is_read_piece_by_piece_and_nothing_else_of_it_meanwhile(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit) + modern(kit, "tools/list") * (2 * READ_AT_ONCE))
    paused = [wire.is_paused]
    await turn(kit)
    paused.append(wire.is_paused)
    assert paused == [True, False]
    kit.line.reply()
    for _ in range(3):
        await turn(kit)
    assert wire.statuses == [200] * (1 + 2 * READ_AT_ONCE)


@pytest.mark.threat("T-PARSER")
async def test_what_comes_while_a_pipeline_is_read_is_read_behind_it(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    stream = modern(kit, "tools/list") * (READ_AT_ONCE + 2) + a_call(kit) + b"no http\r\n\r\n"
    front.data_received(stream[:-300])
    front.data_received(stream[-300:])  # a loop that had read it already
    for _ in range(3):
        await turn(kit)
    kit.line.reply()
    for _ in range(3):
        await turn(kit)
    assert wire.statuses == [200] * (READ_AT_ONCE + 3) + [400]


@pytest.mark.threat("T-FLOOD")
async def test_a_body_that_came_whole_is_not_counted_for_its_connection_any_more(kit: Kit) -> None:
    """Five clients that each sent a large request once, in two pieces, keep nothing."""
    kit.rules = replace(kit.rules, message_limits=JsonLimits(max_bytes=1 << 20))
    room = Room(kit.door, limits(http=HttpLimits(max_body_bytes=1 << 20), max_held_bytes=300_000))
    crowd = [join(room) for _ in range(5)]
    for front, wire in crowd:
        message = large(kit, 90_000)
        front.data_received(message[:-10])
        front.data_received(message[-10:])
        await turn(kit)
        assert len(wire.statuses) == 1
    assert not any(wire.was_aborted for _, wire in crowd)
    front, wire = crowd[0]
    front.data_received(modern(kit, "tools/list"))
    assert wire.statuses[-1] == 200


@pytest.mark.threat("T-HANG")
async def test_a_request_that_came_in_pieces_may_wait_for_an_answer_that_takes_long(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(a_call(kit))
    message = modern(kit, "tools/list")
    front.data_received(message[:50])
    assert front.deadline < float("inf")
    front.data_received(message[50:])
    front.expire(front.deadline)
    assert not wire.is_closing()
    await turn(kit)
    kit.line.reply()
    assert await answers(kit, wire, 2) == [200, 200]


@pytest.mark.threat("T-PARSER")
async def test_garbage_in_the_same_piece_is_refused_behind_the_answer(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(modern(kit, "tools/list") + b"no http\r\n\r\n")
    await turn(kit)
    assert wire.statuses == [200, 400]
    assert wire.is_closing()


@pytest.mark.threat("T-FLOOD")
async def test_crumbs_of_a_head_do_not_put_its_deadline_off(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    message = modern(kit, "tools/list")
    front.data_received(message[:1])
    due = front.deadline
    for at in range(1, 60):
        front.data_received(message[at : at + 1])
    assert front.deadline == due
    front.data_received(message[60:])
    assert wire.statuses == [200]


@pytest.mark.threat("T-FLOOD")
@pytest.mark.threat("T-FLOOD")
async def test_of_a_crowd_that_trickles_most_are_not_read_for_a_while_and_all_are_read_again(
    kit: Kit,
) -> None:
    room = Room(kit.door, limits())
    crowd = [join(room) for _ in range(8 * CRUMBS_AT_ONCE)]
    for front, _ in crowd:
        front.data_received(b"POST /mcp HTTP/1.1\r\n")
    for front, _ in crowd:  # hundreds within a few milliseconds
        front.data_received(b"X: a\r\n")
    assert any(wire.is_paused for _, wire in crowd)
    assert not crowd[0][1].is_paused
    async with asyncio.timeout(20):
        while any(wire.is_paused for _, wire in crowd):  # noqa: ASYNC110  # what passes is time alone
            await asyncio.sleep(0)


async def test_whoever_sends_a_few_crumbs_or_large_pieces_is_always_read(kit: Kit) -> None:
    roomy = limits(http=HttpLimits(max_body_bytes=1 << 20))
    room = Room(kit.door, roomy)
    slow, slow_wire = join(room)
    slow.data_received(large(kit, 3000)[:1000])
    for _ in range(CRUMBS_AT_ONCE):
        slow.data_received(b"x")
    large_front, large_wire = join(room)
    large_front.data_received(large(kit, 900_000)[:1000])
    for _ in range(2 * CRUMBS_AT_ONCE):
        large_front.data_received(b"x" * 10_000)
    assert not slow_wire.is_paused
    assert not large_wire.is_paused


async def test_a_body_behind_an_answered_request_is_judged_without_more_bytes(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    front.data_received(modern(kit, "tools/list") + large(kit, token=None)[:-10])
    await turn(kit)
    assert wire.statuses == [200, 401]


async def test_a_known_client_behind_its_own_request_gets_leave_to_send_on(kit: Kit) -> None:
    front, wire = join(Room(kit.door, limits()))
    head, _, body = raw(kit.modern_request("tools/list", headers={"expect": "100-continue"})).partition(
        b"\r\n\r\n"
    )
    front.data_received(a_call(kit) + head + b"\r\n\r\n")
    await turn(kit)
    assert wire.sent == b""
    kit.line.reply()
    await turn(kit)
    assert wire.sent.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    front.data_received(body)
    await turn(kit)
    assert wire.statuses == [200, 100, 200]


@pytest.mark.threat("T-FLOOD")
async def test_a_connection_that_was_shed_is_counted_for_nobody(kit: Kit) -> None:
    room = Room(kit.door, limits(max_connections=1, max_connections_per_client=1))
    shed, _ = join(room)
    kept, wire = join(room)
    assert not shed.admit("aya")
    kept.data_received(modern(kit, "tools/list"))
    assert wire.statuses == [200]
