"""What goes out: in order, in one write where it can be, and counted where the client leaves it unread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.gateway.connecting import Wire, a_call, join, limits, modern, turn

from sekisho.gateway import Front
from sekisho.gateway.outgoing import COALESCED, NEVER, TLS_PIECE, Outgoing

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


def test_pieces_wait_for_the_end_of_the_turn_and_only_the_first_asks_for_it() -> None:
    wire = Wire()
    out = Outgoing(wire, is_tls=False)
    assert [out.begin(piece) for piece in (b"a", b"b")] == [True, False]
    assert wire.sent == b""
    out.flush()
    out.flush()
    assert wire.sent == b"ab"
    assert out.begin(b"c")
    assert out.send(b"d"), "what waits leaves with what follows"
    assert wire.sent == b"abcd"


def test_what_a_client_leaves_unread_is_held_until_it_catches_up() -> None:
    wire = Wire()
    out = Outgoing(wire, is_tls=True)
    out.send(b"x" * 10)
    assert out.held_bytes == 0
    out.read_by = 1.0
    out.send(b"x" * 10)
    assert out.held_bytes == 10
    assert not out.send(b"y" * (TLS_PIECE + 1)), "a large answer waits"
    assert out.held_bytes == 10 + TLS_PIECE + 1
    assert out.resume()
    assert (out.held_bytes, out.read_by) == (0, NEVER)
    assert wire.sent == b"x" * 20 + b"y" * (TLS_PIECE + 1)
    assert not out.resume(), "no answer was waiting any more"


def test_nothing_is_kept_for_a_client_that_is_gone() -> None:
    wire = Wire()
    out = Outgoing(wire, is_tls=True)
    out.begin(b"piece")
    out.read_by = 1.0
    out.send(b"y" * (TLS_PIECE + 1))
    out.drop()
    assert not out.resume()
    out.flush()
    assert wire.sent == b""


async def test_pieces_of_one_turn_leave_in_one_write_and_in_order(kit: Kit) -> None:
    connection, wire = join(Front(kit.door, limits()))
    writes: list[int] = []
    wire.on_write = lambda: writes.append(len(wire.sent))
    connection.data_received(a_call(kit))
    assert connection.begin(b"a")
    assert connection.begin(b"b")
    connection.answer(b"c")
    assert wire.sent == b"abc"
    await asyncio.sleep(0)
    connection.data_received(a_call(kit))
    assert connection.begin(b"d")
    assert connection.begin(b"e" * COALESCED), "what is large does not wait for the end of the turn"
    assert wire.sent == b"abcd" + b"e" * COALESCED
    assert connection.begin(b"f")
    await asyncio.sleep(0)
    assert wire.sent.endswith(b"ef")
    assert writes == [3, 4 + COALESCED, 5 + COALESCED]


@pytest.mark.threat("T-FLOOD")
async def test_unread_answers_count_and_are_forgotten_when_read(kit: Kit) -> None:
    front = Front(kit.door, limits(max_held_bytes=150_000))
    guests = [join(front) for _ in range(2)]
    for connection, _ in guests:
        connection.answer(b"x" * 100_000)  # it leaves at once
    assert not any(wire.was_aborted for _, wire in guests)
    for connection, _ in guests:
        connection.pause_writing()
        connection.answer(b"x" * 70_000)
        connection.resume_writing()
    assert not any(wire.was_aborted for _, wire in guests)
    for connection, _ in guests:
        connection.pause_writing()
        connection.answer(b"x" * 100_000)
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_large_pieces_that_are_left_unread_count_too(kit: Kit) -> None:
    front = Front(kit.door, limits(max_held_bytes=150_000))
    guests = [join(front) for _ in range(2)]
    for connection, wire in guests:
        wire.on_write = connection.pause_writing  # as a transport does whose buffer is full
        assert connection.begin(b"x" * 100_000)
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_answers_in_parts_that_are_left_unread_count_too(kit: Kit) -> None:
    front = Front(kit.door, limits(max_held_bytes=150_000))
    guests = [join(front) for _ in range(2)]
    for connection, wire in guests:
        connection.answer_in_parts([b"head", memoryview(b"x" * 100_000)[1:], b"end"])  # it leaves at once
        assert wire.sent == b"head" + b"x" * 99_999 + b"end"
    assert not any(wire.was_aborted for _, wire in guests)
    for connection, _ in guests:
        connection.pause_writing()
        connection.answer_in_parts([b"x" * 50_000, b"x" * 50_000])
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


@pytest.mark.threat("T-FLOOD")
async def test_a_request_behind_it_does_not_hide_what_is_left_unread(kit: Kit) -> None:
    front = Front(kit.door, limits(max_held_bytes=150_000))
    guests = [join(front) for _ in range(2)]
    for connection, wire in guests:
        connection.data_received(a_call(kit) + a_call(kit)[:-10])
        wire.on_write = connection.pause_writing
        connection.answer(b"x" * 100_000)
        await turn(kit)
    assert [wire.was_aborted for _, wire in guests].count(True) == 1


async def test_parts_follow_what_was_begun_and_come_whole_over_tls(kit: Kit) -> None:
    front = Front(kit.door, limits())
    connection, wire = join(front)
    assert connection.begin(b"begun ")
    connection.answer_in_parts([b"head ", memoryview(b"body")])
    assert wire.sent == b"begun head body"
    connection, wire = join(front, extra={"sslcontext": object()})
    connection.answer_in_parts([b"x" * 300_000, memoryview(b"y" * 300_000)])
    assert wire.sent == b"x" * 300_000 + b"y" * 300_000
    wire.close()
    connection.answer_in_parts([b"to nobody"])
    assert wire.sent.endswith(b"y")


@pytest.mark.threat("T-FLOOD")
async def test_over_tls_a_large_answer_is_sent_as_the_client_takes_it(kit: Kit) -> None:
    front = Front(kit.door, limits(max_held_bytes=600_000))
    connection, wire = join(front, extra={"sslcontext": object()})
    data = bytes(range(256)) * 4096
    sent: list[int] = []

    def write(piece: Any) -> None:
        wire.sent += bytes(piece)
        sent.append(len(piece))
        connection.pause_writing()

    wire.write = write  # type: ignore[assignment]
    connection.admit("aya")
    connection.answer(data[:700_000])
    while wire.sent != data[:700_000]:
        assert not wire.was_aborted
        connection.resume_writing()
    assert max(sent) == 256 << 10
    connection.resume_writing()
    connection.data_received(modern(kit, "tools/list"))
    assert b"HTTP/1.1 200" in wire.sent[700_000:]
    connection.answer(data)
    assert wire.was_aborted  # more is left unread than may be held
