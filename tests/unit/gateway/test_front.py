"""The front: answers in order, and a client that is slow, greedy or gone costs little."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.gateway.connecting import Wire, a_call, answers, join, large, limits, modern, raw, turn

from sekisho.gateway import Front
from sekisho.gateway.front import READ_AT_ONCE, Connection
from sekisho.gateway.pace import CRUMB_BYTES, CRUMBS_AT_ONCE, HEARD_AT_ONCE, STRANGERS_AT_ONCE, TICK_S
from sekisho.policy import RateRule
from sekisho.protocol import HttpLimits, JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


async def test_a_request_in_pieces_is_answered_once_it_is_whole(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    for byte in modern(kit, "tools/list"):
        assert wire.sent == b""
        connection.data_received(bytes([byte]))
    assert await answers(kit, wire, 1) == [200]
    assert not wire.is_closing()


async def test_pipelined_requests_are_answered_in_their_order(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit, 1) + modern(kit, "tools/list") + a_call(kit, 2))
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
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit))
    await turn(kit)
    connection.data_received(b"\0garbage\r\n\r\n")
    connection.data_received(a_call(kit))
    await turn(kit)
    assert wire.sent == b""
    kit.line.reply()
    assert await answers(kit, wire, 2) == [200, 400]
    assert wire.is_closing()
    assert len(kit.line.frames) == 1


async def test_a_client_that_is_gone_withdraws_its_call(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit))
    await turn(kit)
    wire.close()
    connection.connection_lost(None)
    await turn(kit)
    assert (kit.line.cancelled, kit.road.in_flight, wire.sent) == ([1], 0, b"")
    assert kit.log.entries[-1]["code"] == "cancelled"


async def test_a_client_gone_before_the_intent_is_on_record_causes_no_call(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit))
    wire.close()
    connection.connection_lost(None)
    await turn(kit)
    assert (kit.line.frames, kit.road.in_flight) == ([], 0)


@pytest.mark.threat("T-FLOOD")
async def test_a_request_that_trickles_in_is_cut_off(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits(request_timeout_s=0.01)))
    connection.data_received(modern(kit, "tools/list")[:40])
    loop = asyncio.get_running_loop()
    fired = loop.create_future()
    loop.call_later(0.01, fired.set_result, None)  # later than the front's own timer of the same length
    connection.data_received(b"x")
    await fired
    await turn(kit)
    await wire.wait_ended()
    assert wire.statuses == [408]


@pytest.mark.threat("T-FLOOD")
async def test_a_silent_connection_is_closed_without_a_word(kit: Kit) -> None:
    _, wire = join(Front(kit.door, limits(request_timeout_s=0.01)))
    await wire.wait_ended()
    assert wire.sent == b""


@pytest.mark.threat("T-FLOOD")
async def test_an_idle_connection_is_closed(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits(idle_timeout_s=0.01)))
    connection.data_received(modern(kit, "tools/list"))
    await wire.wait_ended()
    assert wire.statuses == [200]


@pytest.mark.threat("T-FLOOD")
async def test_a_body_beyond_the_limit_is_413_before_it_is_sent(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2049\r\n\r\n")
    await turn(kit)
    assert wire.statuses == [413]
    assert wire.is_closing()


@pytest.mark.threat("T-FLOOD")
async def test_too_many_pipelined_requests_end_the_connection(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits(max_pipelined=2)))
    connection.data_received(modern(kit, "tools/list") * 4)
    await turn(kit)
    assert wire.statuses == [200, 200, 200, 503]
    assert wire.is_closing()


async def test_pieces_of_an_answer_leave_as_they_come_unless_the_client_lags(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit))
    assert connection.begin(b"piece")
    await asyncio.sleep(0)
    assert wire.sent == b"piece"
    connection.pause_writing()
    assert not connection.begin(b"late")
    connection.resume_writing()
    assert connection.begin(b"again")
    await asyncio.sleep(0)
    assert wire.sent == b"pieceagain"


async def test_pieces_are_not_sent_to_a_client_that_is_gone(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit))
    assert connection.begin(b"piece")
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert wire.sent == b""


@pytest.mark.threat("T-FLOOD")
async def test_a_client_that_does_not_read_is_cut_off(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits(send_timeout_s=0.01)))
    connection.pause_writing()
    assert wire.is_paused
    async with asyncio.timeout(20):
        await wire.ended.wait()
    assert wire.was_aborted


async def test_a_client_that_catches_up_is_served_on(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.pause_writing()
    connection.resume_writing()
    connection.data_received(modern(kit, "tools/list"))
    await turn(kit)
    assert not wire.is_paused
    assert wire.statuses == [200]


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    head, _, body = raw(kit.modern_request("tools/list", headers={"expect": "100-continue"})).partition(
        b"\r\n\r\n"
    )
    connection.data_received(head + b"\r\n\r\n")
    assert wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(body)
    await turn(kit)
    assert wire.statuses[-1] == 200


async def test_connection_close_is_honoured_and_what_follows_ignored(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(raw(kit.modern_request("tools/list", headers={"connection": "close"})))
    connection.data_received(modern(kit, "tools/list"))
    await turn(kit)
    assert wire.statuses == [200]
    assert wire.is_closing()


async def test_what_the_loop_puts_into_the_buffer_is_read(kit: Kit) -> None:
    front = Front(kit.door, limits())
    guests = [join(front) for _ in range(2)]
    for connection, wire in guests:
        message = modern(kit, "tools/list")
        connection.get_buffer(-1)[: len(message)] = message
        connection.buffer_updated(len(message))
        assert wire.statuses == [200]


async def test_it_serves_a_real_socket(kit: Kit) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Front(kit.door, limits()).connect, "127.0.0.1", 0)
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
    server = await loop.create_server(Front(kit.door, limits()).connect, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(modern(kit, "tools/list"))
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
    assert troubles == []


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(("fields", "status"), [({"token": None}, 401), ({"target": "/x"}, 404)])
async def test_nobody_makes_us_hold_a_body_before_its_head_was_judged(
    kit: Kit, fields: dict[str, Any], status: int
) -> None:
    connection, wire = join(Front(kit.door, limits()))
    message = large(kit, **fields)
    connection.data_received(message[:-500])
    await turn(kit)
    assert wire.statuses == [status]
    assert wire.has_ended_writing
    connection.data_received(message[-500:] + modern(kit, "tools/list"))
    await turn(kit)
    assert wire.statuses == [status]


async def test_the_body_of_a_known_client_is_waited_for_and_judged_once(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    message = large(kit)
    for piece in (message[:-500], message[-500:-200], message[-200:]):
        assert wire.sent == b""
        connection.data_received(piece)
    await turn(kit)
    assert wire.statuses == [200]
    connection.data_received(large(kit, token=None)[:-10])
    await turn(kit)
    assert wire.statuses == [200, 401]


async def test_a_refused_body_is_waited_out_so_that_the_answer_arrives(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(large(kit, token=None)[:-10])
    await turn(kit)
    assert not wire.is_closing()
    await wire.wait_ended()


@pytest.mark.threat("T-FLOOD")
async def test_no_answer_is_made_while_one_is_left_unread(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    wire.on_write = connection.pause_writing  # as a transport does whose buffer is full
    connection.data_received(modern(kit, "tools/list") * 3 + b"no http\r\n\r\n")
    for answered in (1, 2):
        await turn(kit)
        assert wire.statuses == [200] * answered
        connection.resume_writing()
    await turn(kit)
    assert wire.statuses == [200, 200, 200, 400]


@pytest.mark.threat("T-FLOOD")
async def test_requests_that_wait_count_whole_as_they_are(kit: Kit) -> None:
    roomy = limits(http=HttpLimits(max_body_bytes=1 << 20), max_held_bytes=300_000)
    front = Front(kit.door, roomy)
    greedy, greedy_wire = join(front)
    modest, modest_wire = join(front)
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


async def test_as_many_requests_as_may_wait_may_also_come_at_once(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits(max_pipelined=2)))
    connection.data_received(modern(kit, "tools/list") * 3)
    await turn(kit)
    assert wire.statuses == [200] * 3
    connection.data_received(modern(kit, "tools/list") * 4)
    await turn(kit)
    assert wire.statuses == [200] * 6 + [503]


@pytest.mark.threat("T-FLOOD")
async def test_requests_that_come_together_take_turns_with_everybody_else(kit: Kit) -> None:
    """However many connections have however many, one request of theirs is answered in each turn of the loop."""
    kit.change(client_rate=RateRule(per_minute=6000))
    front = Front(kit.door, limits())
    crowd = [join(front) for _ in range(6)]
    connection, wire = join(front)
    for one, _ in (*crowd, (connection, wire)):  # now they are known
        one.data_received(modern(kit, "tools/list"))
    for one, _ in crowd:
        one.data_received(modern(kit, "tools/list") * 8)
    answered = [6]
    async with asyncio.timeout(20):
        while answered[-1] < 54:
            if len(answered) == 20:
                connection.data_received(modern(kit, "tools/list"))
                assert wire.statuses == [200, 200]  # at once: it stands behind nobody
            await asyncio.sleep(0)
            answered.append(sum(len(wire.statuses) for _, wire in crowd))
            assert answered[-1] - answered[-2] <= 1
    assert answered[19] < 26
    assert answered[19] == answered[20]  # and the line waits a moment for it
    assert all(wire.statuses == [200] * 9 for _, wire in crowd)
    assert not any(wire.is_paused or wire.is_closing() for _, wire in crowd)


@pytest.mark.threat("T-FLOOD")
async def test_a_long_pipeline_is_read_piece_by_piece_and_nothing_else_of_it_meanwhile(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit) + modern(kit, "tools/list") * (2 * READ_AT_ONCE))
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
    connection, wire = join(Front(kit.door, limits()))
    stream = modern(kit, "tools/list") * (READ_AT_ONCE + 2) + a_call(kit) + b"no http\r\n\r\n"
    connection.data_received(stream[:-300])
    connection.data_received(stream[-300:])  # a loop that had read it already
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
    front = Front(kit.door, limits(http=HttpLimits(max_body_bytes=1 << 20), max_held_bytes=300_000))
    crowd = [join(front) for _ in range(5)]
    for connection, wire in crowd:
        message = large(kit, 90_000)
        connection.data_received(message[:-10])
        connection.data_received(message[-10:])
        await turn(kit)
        assert len(wire.statuses) == 1
    assert not any(wire.was_aborted for _, wire in crowd)
    connection, wire = crowd[0]
    connection.data_received(modern(kit, "tools/list"))
    assert wire.statuses[-1] == 200


@pytest.mark.threat("T-HANG")
async def test_a_request_that_came_in_pieces_may_wait_for_an_answer_that_takes_long(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(a_call(kit))
    message = modern(kit, "tools/list")
    connection.data_received(message[:50])
    assert connection.deadline < float("inf")
    connection.data_received(message[50:])
    connection.expire(connection.deadline)
    assert not wire.is_closing()
    await turn(kit)
    kit.line.reply()
    assert await answers(kit, wire, 2) == [200, 200]


@pytest.mark.threat("T-PARSER")
async def test_garbage_in_the_same_piece_is_refused_behind_the_answer(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(modern(kit, "tools/list") + b"no http\r\n\r\n")
    await turn(kit)
    assert wire.statuses == [200, 400]
    assert wire.is_closing()


@pytest.mark.threat("T-FLOOD")
async def test_crumbs_of_a_head_do_not_put_its_deadline_off(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    message = modern(kit, "tools/list")
    connection.data_received(message[:1])
    due = connection.deadline
    for at in range(1, 60):
        connection.data_received(message[at : at + 1])
    assert connection.deadline == due
    connection.data_received(message[60:])
    assert await answers(kit, wire, 1) == [200]


def let_in(kit: Kit, front: Front) -> tuple[Connection, Wire]:
    """A known client that has begun to send a body."""
    connection, wire = join(front)
    connection.data_received(modern(kit, "tools/list") + large(kit, 1 << 20)[:1000])
    return connection, wire


def unknown(kit: Kit, front: Front) -> tuple[Connection, Wire]:
    """A stranger whose body was refused and still comes."""
    connection, wire = join(front)
    connection.data_received(large(kit, token=None)[:-900])
    return connection, wire


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("begin", [let_in, unknown])
@pytest.mark.parametrize("size", [1, 1500, CRUMB_BYTES - 1])
async def test_of_a_crowd_that_trickles_most_are_not_read_for_a_while_and_all_are_read_again(
    kit: Kit, begin: Callable[[Kit, Front], tuple[Connection, Wire]], size: int
) -> None:
    kit.change(client_rate=RateRule(per_minute=60_000))
    front = Front(kit.door, limits(http=HttpLimits(max_body_bytes=1 << 24), max_connections_per_client=1024))
    crowd = [begin(kit, front) for _ in range(4 * CRUMBS_AT_ONCE)]
    for _, wire in crowd:
        await answers(kit, wire, 1)
    for connection, _ in crowd:  # hundreds within a few milliseconds
        connection.data_received(b"x" * size)
    assert any(wire.is_paused for _, wire in crowd)
    async with asyncio.timeout(60):
        while any(wire.is_paused and not wire.is_closing() for _, wire in crowd):  # noqa: ASYNC110  # time alone passes
            await asyncio.sleep(0)


async def test_whoever_sends_a_few_crumbs_or_large_pieces_is_always_read(kit: Kit) -> None:
    front = Front(kit.door, limits(http=HttpLimits(max_body_bytes=1 << 22)))
    slow, slow_wire = join(front)
    slow.data_received(large(kit, 3000)[:1000])
    for _ in range(CRUMBS_AT_ONCE):
        slow.data_received(b"x")
    large_one, large_wire = join(front)
    large_one.data_received(large(kit, 4_000_000)[:1000])
    for _ in range(2 * CRUMBS_AT_ONCE):
        large_one.data_received(b"x" * CRUMB_BYTES)
    assert not slow_wire.is_paused
    assert not large_wire.is_paused


@pytest.mark.threat("T-FLOOD")
async def test_a_crowd_of_strangers_is_heard_one_after_the_other_and_known_clients_at_once(kit: Kit) -> None:
    front = Front(kit.door, limits())
    known, known_wire = join(front)
    known.data_received(modern(kit, "tools/list"))
    crowd = [join(front) for _ in range(20 * STRANGERS_AT_ONCE)]
    wrong = raw(kit.modern_request("tools/list", token=None))
    while not any(wire.is_paused for _, wire in crowd):
        for connection, wire in crowd:
            if not wire.is_paused:
                connection.data_received(wrong)
    waiting = [(connection, wire) for connection, wire in crowd if wire.is_paused]
    connection, wire = waiting[0]
    connection.data_received(wrong)  # the loop had it already: it is heard behind the one before
    known.data_received(modern(kit, "tools/list"))
    assert known_wire.statuses == [200, 200]
    async with asyncio.timeout(60):
        while any(wire.is_paused for _, wire in waiting):
            before = sum(wire.is_paused for _, wire in waiting)
            await asyncio.sleep(0)
            assert before - sum(wire.is_paused for _, wire in waiting) <= HEARD_AT_ONCE
    for _, wire in waiting[1:]:
        assert (await answers(kit, wire, 1))[0] == 401
    assert await answers(kit, waiting[0][1], 2) == [401, 401]


async def test_those_who_show_who_they_are_are_heard_at_once_however_many_they_are(kit: Kit) -> None:
    kit.change(client_rate=RateRule(per_minute=60_000))
    front = Front(kit.door, limits(max_connections_per_client=1024))
    for _ in range(4 * STRANGERS_AT_ONCE):
        connection, wire = join(front)
        connection.data_received(modern(kit, "tools/list"))
        assert wire.statuses == [200]


def of_no_form(kit: Kit) -> bytes:
    """The head of a request of a known client, with a body that nobody takes."""
    request = kit.modern_request("tools/list", {"x": "x" * 1000}, headers={"content-type": "text/plain"})
    return raw(request)[:-900]


@pytest.mark.threat("T-FLOOD")
async def test_a_crowd_that_is_refused_in_spite_of_its_token_is_heard_one_after_the_other(kit: Kit) -> None:
    front = Front(kit.door, limits(max_connections_per_client=1024))
    known, known_wire = join(front)
    known.data_received(modern(kit, "tools/list"))
    crowd = [join(front) for _ in range(10 * STRANGERS_AT_ONCE)]
    for connection, _ in crowd:
        connection.data_received(of_no_form(kit))
    waiting = [wire for _, wire in crowd if wire.is_paused]
    assert waiting
    known.data_received(modern(kit, "tools/list"))
    assert known_wire.statuses == [200, 200]
    async with asyncio.timeout(60):
        while any(wire.is_paused for wire in waiting):
            before = sum(wire.is_paused for wire in waiting)
            await asyncio.sleep(0)
            assert before - sum(wire.is_paused for wire in waiting) <= HEARD_AT_ONCE
    for _, wire in crowd:
        assert await answers(kit, wire, 1) == [415]
    assert {one["client"] for one in kit.log.entries if one["kind"] == "refusal"} == {"aya"}


@pytest.mark.threat("T-FLOOD")
async def test_a_stranger_s_many_requests_are_no_more_than_those_of_many_strangers(kit: Kit) -> None:
    front = Front(kit.door, limits())
    wrong = raw(kit.modern_request("tools/list", token=None))
    begun = asyncio.get_running_loop().time()
    crowd = [join(front) for _ in range(4 * STRANGERS_AT_ONCE)]
    for connection, _ in crowd:
        connection.data_received(wrong * 6)

    def answered() -> int:
        return sum(len(wire.statuses) for _, wire in crowd)

    async with asyncio.timeout(60):
        while (told := answered()) < 6 * len(crowd):
            await turn(kit)
            ticks = (
                1 + (asyncio.get_running_loop().time() - begun) / TICK_S
            )  # more, when this machine is slow
            assert told <= ticks * (STRANGERS_AT_ONCE + HEARD_AT_ONCE)
    assert all(set(wire.statuses) == {401} for _, wire in crowd)


@pytest.mark.threat("T-FLOOD")
async def test_a_newcomer_with_a_token_does_not_wait_behind_those_who_were_refused(kit: Kit) -> None:
    front = Front(kit.door, limits())
    wrong = raw(kit.modern_request("tools/list", token=None))
    crowd = [join(front) for _ in range(40 * STRANGERS_AT_ONCE)]
    for connection, _ in crowd:
        connection.data_received(wrong)
    for _, wire in crowd:
        await answers(kit, wire, 1)
    while sum(wire.is_paused for _, wire in crowd) < len(crowd) // 2:
        for connection, wire in crowd:  # and once more: now they stand in line
            if not wire.is_paused:
                connection.data_received(wrong)
    newcomer, newcomers_wire = join(front)
    newcomer.data_received(modern(kit, "tools/list"))
    assert await answers(kit, newcomers_wire, 1) == [200]
    assert any(len(wire.statuses) == 1 for _, wire in crowd)


def put_off(kit: Kit, front: Front) -> tuple[Connection, Wire]:
    """A stranger who came together with many others, and whose turn has not come."""
    while True:
        connection, wire = join(front)
        connection.data_received(raw(kit.modern_request("tools/list", token=None)))
        if wire.is_paused:
            return connection, wire


@pytest.mark.threat("T-FLOOD")
async def test_a_stranger_that_is_gone_before_its_turn_is_not_heard(kit: Kit) -> None:
    front = Front(kit.door, limits())
    (gone, gone_wire), (_, wire) = put_off(kit, front), put_off(kit, front)
    gone.connection_lost(None)
    assert await answers(kit, wire, 1) == [401]
    assert gone_wire.statuses == []


async def test_a_body_behind_an_answered_request_is_judged_without_more_bytes(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    connection.data_received(modern(kit, "tools/list") + large(kit, token=None)[:-10])
    await turn(kit)
    assert wire.statuses == [200, 401]


async def test_a_known_client_behind_its_own_request_gets_leave_to_send_on(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    head, _, body = raw(kit.modern_request("tools/list", headers={"expect": "100-continue"})).partition(
        b"\r\n\r\n"
    )
    connection.data_received(a_call(kit) + head + b"\r\n\r\n")
    await turn(kit)
    assert wire.sent == b""
    kit.line.reply()
    await turn(kit)
    assert wire.sent.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.data_received(body)
    await turn(kit)
    assert wire.statuses == [200, 100, 200]
