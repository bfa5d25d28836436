from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sekisho.errors import Tampered
from sekisho.keys import SealPair
from sekisho.wire.frames import Kind
from sekisho.wire.pipe import MAX_QUEUED_BYTES, SealedPipe

Settle = Callable[[], Awaitable[None]]


class Sink(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.queued = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.queued


def pipes() -> tuple[SealedPipe, Sink, SealedPipe]:
    loop, sink = asyncio.get_running_loop(), Sink()
    core = SealPair(secret=b"s" * 32, salt=b"n" * 32, role="core")
    plugin = SealPair(secret=b"s" * 32, salt=b"n" * 32, role="plugin")
    return SealedPipe(sink, core, loop), sink, SealedPipe(Sink(), plugin, loop)


async def test_all_frames_of_one_loop_turn_leave_in_one_write(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    for number in range(3):
        sender.send(Kind.CALL, number, b"x")
    await settle()
    assert len(sink.writes) == 1
    assert list(receiver.receive(sink.writes[0])) == [(Kind.CALL, number, b"x") for number in range(3)]
    sender.send(Kind.PING)
    await settle()
    assert len(sink.writes) == 2


async def test_a_broken_record_is_noticed_after_the_good_ones(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    sender.send(Kind.CALL, 1, b"x")
    sender.send(Kind.CALL, 2, b"x")
    await settle()
    data = bytearray(sink.writes[0])
    data[-1] ^= 1
    frames = receiver.receive(bytes(data))
    assert next(frames) == (Kind.CALL, 1, b"x")
    with pytest.raises(Tampered):
        next(frames)


async def test_nothing_is_sent_after_stop(settle: Settle) -> None:
    sender, sink, _ = pipes()
    sender.send(Kind.CALL, 1, b"x")
    sender.stop()
    sender.send(Kind.CALL, 2, b"x")
    await settle()
    assert sink.writes == []


async def test_a_pipe_says_when_the_peer_does_not_read() -> None:
    sender, sink, _ = pipes()
    assert not sender.is_full
    sink.queued = MAX_QUEUED_BYTES + 1
    assert sender.is_full
