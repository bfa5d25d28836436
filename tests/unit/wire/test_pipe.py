from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import LocalProtocolError, RemoteProtocolError, Tampered
from sekisho.keys import SealPair, seals
from sekisho.wire import pipe
from sekisho.wire.frames import HEAD_BYTES, INLINE_BYTES, MAX_BATCH_BYTES, Frame, Kind, Opened
from sekisho.wire.pipe import MAX_QUEUED_BYTES, SLICE_BYTES, SealedPipe

Settle = Callable[[], Awaitable[None]]
CALL = int(Kind.CALL)


class Sink(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__({"socket": sock})
        self.writes: list[bytes] = []
        self.queued = 0
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.queued

    def abort(self) -> None:
        self.is_aborted = True


def pipes(loop: asyncio.AbstractEventLoop | None = None) -> tuple[SealedPipe, Sink, SealedPipe]:
    loop, sink = loop or asyncio.get_running_loop(), Sink()
    core = SealPair(secret=b"s" * 32, salt=b"n" * 32, role="core")
    plugin = SealPair(secret=b"s" * 32, salt=b"n" * 32, role="plugin")
    return SealedPipe(sink, core, loop), sink, SealedPipe(Sink(), plugin, loop)


async def test_all_frames_of_one_loop_turn_leave_in_one_write_and_one_record(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    for number in range(3):
        sender.send(Kind.CALL, number, b"x")
    await settle()
    assert len(sink.writes) == 1
    assert sender.seals.records == 1
    assert list(receiver.feed(sink.writes[0])) == [(CALL, number, b"x") for number in range(3)]
    sender.send(Kind.PING)
    await settle()
    assert len(sink.writes) == 2


@pytest.mark.parametrize("is_expected", [False, True])
async def test_what_is_expected_leaves_right_behind_the_callback_that_sends_it(
    settle: Settle, is_expected: bool
) -> None:
    sender, sink, receiver = pipes()
    loop, writes = asyncio.get_running_loop(), list[int]()
    loop.call_soon(sender.send, Kind.CALL, 1, b"x")
    if is_expected:
        sender.expect()
    loop.call_soon(sender.send, Kind.CALL, 2, b"x")  # whoever comes later has the next turn
    loop.call_soon(lambda: writes.append(len(sink.writes)))
    await settle()
    assert writes == [int(is_expected)]
    assert list(receiver.feed(b"".join(sink.writes))) == [(CALL, 1, b"x"), (CALL, 2, b"x")]
    assert len(sink.writes) == 1 + is_expected


async def test_what_was_expected_and_does_not_come_is_no_write(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    sender.expect()
    await settle()
    assert sink.writes == []
    assert sender.seals.records == 0
    sender.send(Kind.CALL, 1, b"x")
    await settle()
    assert list(receiver.feed(b"".join(sink.writes))) == [(CALL, 1, b"x")]


async def test_a_pipe_that_expects_something_still_says_when_the_peer_does_not_read() -> None:
    sender, sink, _ = pipes()
    sink.queued = MAX_QUEUED_BYTES + 1
    sender.expect()
    assert sender.is_full


async def test_large_payloads_keep_their_place_among_small_ones(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    full = [INLINE_BYTES] * 3 + [MAX_BATCH_BYTES - 3 * INLINE_BYTES - 4 * HEAD_BYTES]
    sizes = [1, INLINE_BYTES + 1, 2, INLINE_BYTES, *[5000] * 40, 3 * MAX_BATCH_BYTES, 3 * MAX_BATCH_BYTES]
    sizes += [*full, INLINE_BYTES, *full, INLINE_BYTES + 1, *[0] * 20_000]
    frames = [(CALL, number, bytes([number % 251]) * size) for number, size in enumerate(sizes)]
    for frame in frames:
        sender.send(*frame)
    await settle()
    assert list(receiver.feed(b"".join(sink.writes))) == frames


@pytest.fixture(scope="module")
def idle_loop() -> Iterator[asyncio.AbstractEventLoop]:
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        yield loop


def test_frames_split_at_every_byte_give_the_same_calls(idle_loop: asyncio.AbstractEventLoop) -> None:
    sender, sink, _ = pipes(idle_loop)
    frames = [(CALL, 1, b"one"), (CALL, 2, b"x" * (INLINE_BYTES + 1)), (int(Kind.CANCEL), 1, b"")]
    for frame in frames:
        sender.send(*frame)
    sender.flush()
    stream = b"".join(sink.writes)
    for at in [*range(200), *range(len(stream) - 200, len(stream))]:
        _, _, receiver = pipes(idle_loop)
        assert [*receiver.feed(stream[:at]), *receiver.feed(stream[at:])] == frames
    _, _, receiver = pipes(idle_loop)
    assert [frame for at in range(len(stream)) for frame in receiver.feed(stream[at : at + 1])] == frames


def records_of(stream: bytes) -> list[bytes]:
    """The records of a stream, each with its length."""
    found = []
    while stream:
        size = 4 + int.from_bytes(stream[:4])
        found.append(stream[:size])
        stream = stream[size:]
    return found


@pytest.mark.requirement("A4.3")
@pytest.mark.threat("T-REPLAY")
@settings(max_examples=200, deadline=None)
@given(
    turns=st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=4), min_size=2, max_size=5),
    trick=st.sampled_from(["flip", "replay", "swap", "drop", "shorten", "lengthen", "join"]),
    at=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_a_stream_that_was_touched_gives_a_prefix_of_its_frames_and_never_another(
    idle_loop: asyncio.AbstractEventLoop, turns: list[list[bytes]], trick: str, at: int, bit: int
) -> None:
    sender, sink, receiver = pipes(idle_loop)
    sent: list[Frame] = []
    for turn in turns:
        for payload in turn:
            sent.append((CALL, len(sent), payload))
            sender.send(*sent[-1])
        sender.flush()
    received: list[Opened] = []
    is_noticed = False
    try:
        for frame in receiver.feed(tricked(b"".join(sink.writes), trick, at, bit)):
            received.append(frame)
    except (Tampered, RemoteProtocolError):
        is_noticed = True
    assert received == sent[: len(received)]
    # a length made larger waits for bytes that never come, and a missing end is no lie: nothing false was read
    assert is_noticed or (trick in {"flip", "drop"} and len(received) < len(sent))
    if is_noticed:
        with pytest.raises(Tampered):
            receiver.seals.open(b"x" * 32)


def tricked(stream: bytes, trick: str, at: int, bit: int) -> bytes:
    records = records_of(stream)
    index = at % len(records)
    if trick == "flip":
        changed = bytearray(stream)
        changed[at % len(stream)] ^= 1 << bit
        return bytes(changed)
    if trick == "replay":
        records.insert(index + 1, records[index])
    elif trick == "swap":
        records[index], records[index - 1] = records[index - 1], records[index]
    elif trick == "drop":
        del records[index]
    elif trick in {"shorten", "lengthen"}:
        body = records[index][4:-1] if trick == "shorten" else records[index][4:] + b"\0"
        records[index] = len(body).to_bytes(4) + body
    else:
        first, second = records[0][4:], records[1][4:]
        records[:2] = [len(first + second).to_bytes(4) + first + second]
    return b"".join(records)


async def test_a_broken_record_is_noticed_after_the_good_ones(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    sender.send(Kind.CALL, 1, b"x")
    await settle()
    sender.send(Kind.CALL, 2, b"x")
    await settle()
    data = bytearray(b"".join(sink.writes))
    data[-1] ^= 1
    frames = receiver.feed(bytes(data))
    assert next(frames) == (CALL, 1, b"x")
    with pytest.raises(Tampered):
        next(frames)


async def test_nothing_is_sent_after_stop(settle: Settle) -> None:
    sender, sink, _ = pipes()
    sender.send(Kind.CALL, 1, b"x")
    sender.send(Kind.CALL, 1, b"x" * (INLINE_BYTES + 1))
    sender.stop()
    sender.send(Kind.CALL, 2, b"x")
    sender.send(Kind.CALL, 2, b"x" * (INLINE_BYTES + 1))
    sender.expect()
    await settle()
    assert sink.writes == []


@pytest.mark.interpreted
async def test_a_payload_that_no_record_holds_is_refused_and_nothing_of_it_is_sent(
    settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, sink, receiver = pipes()
    monkeypatch.setattr(pipe, "MAX_PAYLOAD_BYTES", 2 * INLINE_BYTES)
    with pytest.raises(LocalProtocolError) as caught:
        sender.send(Kind.RESULT, 1, b"x" * (2 * INLINE_BYTES + 1))
    assert caught.value.code == "result_too_large"
    sender.send(Kind.RESULT, 2, b"x" * 2 * INLINE_BYTES)
    await settle()
    assert [call for _, call, _ in receiver.feed(b"".join(sink.writes))] == [2]


async def test_a_pipe_says_when_the_peer_does_not_read() -> None:
    sender, sink, _ = pipes()
    assert not sender.is_full
    sink.queued = MAX_QUEUED_BYTES + 1
    assert sender.is_full


@pytest.mark.interpreted
async def test_an_epoch_that_is_used_up_ends_the_channel(
    settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "MAX_RECORDS", 1)
    sender, sink, _ = pipes()
    for number in range(2):
        sender.send(Kind.CALL, number, b"x")
        await settle()
    assert len(sink.writes) == 1
    assert sink.is_aborted


@pytest.mark.parametrize("more", [1, INLINE_BYTES - 100, INLINE_BYTES, SLICE_BYTES - 100])
async def test_a_large_payload_goes_to_tls_in_slices_together_with_what_announces_it(
    settle: Settle, more: int
) -> None:
    """No write is a small one: each is a record of TLS, a call of the kernel, and a reading at the other end."""
    sender, sink, receiver = pipes()
    frame = (int(Kind.RESULT), 1, b"x" * (2 * SLICE_BYTES + more))
    sender.send(*frame)
    await settle()
    *slices, last = [len(write) for write in sink.writes]
    assert set(slices) == {SLICE_BYTES}
    assert INLINE_BYTES <= last < SLICE_BYTES + INLINE_BYTES
    assert [frame for write in sink.writes for frame in receiver.feed(write)] == [frame]


@pytest.mark.parametrize(("size", "writes"), [(10, 3), (INLINE_BYTES - 200, 3), (INLINE_BYTES, 6)])
async def test_what_was_queued_before_a_large_payload_leaves_before_it(
    settle: Settle, size: int, writes: int
) -> None:
    """With its first slice if it is little; what is more is not copied there."""
    sender, sink, receiver = pipes()
    frames = [(CALL, 1, b"c" * size), (int(Kind.RESULT), 2, large(7)), (CALL, 3, b"d")]
    for frame in frames:
        sender.send(*frame)
    await settle()
    assert [frame for write in sink.writes for frame in receiver.feed(write)] == frames
    assert len(sink.writes) == writes


class Keeper(Sink):
    """Copies nothing: it keeps what it is given until it is asked, as a transport may."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.kept.append(memoryview(data))


def large(number: int) -> bytes:
    return bytes([number]) * (2 * SLICE_BYTES + number)


async def test_large_payloads_leave_at_once_and_lie_where_the_one_before_lay() -> None:
    sender, sink, _ = pipes()
    places: list[object] = []
    sink.write = lambda data: places.append(getattr(data, "obj", None))  # type: ignore[method-assign]  # of this one
    for number in range(3):
        sender.send(Kind.RESULT, number, large(3 - number))
    lain = [place for place in places if isinstance(place, bytearray)]
    assert all(place is lain[0] for place in lain)
    sender.trim()  # nothing is kept for long
    sender.send(Kind.RESULT, 3, large(0))
    assert places[-1] is not lain[0]


async def test_what_a_transport_still_holds_is_never_written_over(settle: Settle) -> None:
    sender, _, receiver = pipes()
    keeper = Keeper()
    sender = SealedPipe(keeper, sender.seals, asyncio.get_running_loop())
    frames = [(int(Kind.RESULT), number, large(number)) for number in (3, 2, 1)]
    for frame in frames:
        sender.send(*frame)
    await settle()
    assert [frame for piece in keeper.kept for frame in receiver.feed(bytes(piece))] == frames


@pytest.mark.threat("T-CROSS")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["keep", "let go", "trim"])), max_size=12))
def test_a_large_result_stays_as_it_was_sealed_for_as_long_as_somebody_looks_at_it(
    idle_loop: asyncio.AbstractEventLoop, steps: list[tuple[int, str]]
) -> None:
    """Both ends use their places again, and what is sent from a place may be written over right afterwards."""
    sender, sink, receiver = pipes(idle_loop)
    source, held = bytearray(), list[tuple[memoryview, bytes]]()
    for number, (size, step) in enumerate(steps):
        source[:] = bytes([number + 1]) * (SLICE_BYTES + size)
        view = memoryview(source)
        sender.send(Kind.RESULT, number, view)
        view.release()  # the pipe does not look at it any more, or it could not
        for _ in source[:1]:
            source[:] = b""
        sender.flush()
        written, sink.writes[:] = b"".join(sink.writes), []
        for _, call, payload in receiver.feed(written):
            assert isinstance(payload, memoryview)
            assert call == number
            held.append((payload[size:].toreadonly(), bytes([number + 1]) * SLICE_BYTES))
        if step == "let go":
            held.pop(size % len(held))
        elif step == "trim":
            receiver.trim()
        assert all(payload == sent for payload, sent in held)


async def test_a_payload_that_cannot_leave_at_once_is_copied(settle: Settle) -> None:
    """In the midst of another record, or small enough to share one: its place may be written over before it leaves."""
    sender, sink, receiver = pipes()
    places = [bytearray(large(4)), bytearray(b"s" * INLINE_BYTES), bytearray(b"m" * SLICE_BYTES)]
    sent = [bytes(place) for place in places]

    def write(data: bytes | bytearray | memoryview) -> None:
        sink.writes.append(bytes(data))
        if len(sink.writes) == 1:
            for number, place in enumerate(places):
                sender.send(Kind.RESULT, number, memoryview(place))
                place[:] = bytes(len(place))

    sink.write = write  # type: ignore[method-assign]  # of this one
    sender.send(Kind.RESULT, 9, large(1))
    await settle()
    received = [bytes(frame[2]) for piece in sink.writes for frame in receiver.feed(piece)]
    assert received == [large(1), *sent]


async def test_what_is_sent_in_the_midst_of_a_record_comes_behind_it(settle: Settle) -> None:
    sender, sink, receiver = pipes()
    inner = [(int(Kind.RESULT), 7, large(9)), (CALL, 8, b"x")]

    def write(data: bytes | bytearray | memoryview) -> None:
        sink.writes.append(bytes(data))
        if len(sink.writes) == 1:  # the transport can take more, and says so within its write
            for frame in inner:
                sender.send(*frame)
            sender.flush()

    sink.write = write  # type: ignore[method-assign]  # of this one
    sender.send(Kind.RESULT, 1, large(1))
    sender.send(Kind.RESULT, 2, large(2))
    await settle()
    received = [frame for piece in sink.writes for frame in receiver.feed(piece)]
    assert received == [(int(Kind.RESULT), 1, large(1)), *inner, (int(Kind.RESULT), 2, large(2))]


async def test_a_pipe_stopped_in_the_midst_of_a_record_sends_no_more_of_it(settle: Settle) -> None:
    sender, sink, _ = pipes()

    def write(data: bytes | bytearray | memoryview) -> None:
        sink.writes.append(bytes(data))
        if len(sink.writes) == 1:
            sender.stop()

    sink.write = write  # type: ignore[method-assign]  # of this one
    sender.send(Kind.RESULT, 1, large(1))
    sender.send(Kind.RESULT, 2, large(2))
    await settle()
    assert len(sink.writes) == 1


async def test_a_unix_socket_gets_room_for_a_large_message() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with near, far:
        before = near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        seals_of_core = SealPair(secret=b"s" * 32, salt=b"n" * 32, role="core")
        SealedPipe(Sink(near), seals_of_core, asyncio.get_running_loop())
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before
