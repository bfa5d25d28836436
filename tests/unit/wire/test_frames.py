from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.wire.frames import MAX_SHARED_BYTES, Frame, FrameReader, Kind, cut, frame_head, length_prefix

FRAMES = st.lists(
    st.tuples(
        st.sampled_from([int(kind) for kind in Kind]), st.integers(0, 2**64 - 1), st.binary(max_size=60)
    ),
    min_size=1,
    max_size=8,
)


def record_of(frames: list[Frame]) -> bytes:
    return b"".join(frame_head(kind, call, len(payload)) + payload for kind, call, payload in frames)


@given(FRAMES)
def test_frames_survive_being_written_and_read(frames: list[Frame]) -> None:
    assert cut(record_of(frames)) == (frames, None)


@given(FRAMES, st.integers(0, 2**64 - 1))
def test_a_large_payload_is_announced_by_the_last_frame_of_a_record(frames: list[Frame], call: int) -> None:
    announced = record_of(frames) + frame_head(Kind.RESULT, call, None)
    assert cut(announced) == (frames, (Kind.RESULT, call))
    with pytest.raises(RemoteProtocolError, match="behind the announcement"):
        cut(announced + b"x")


@given(st.one_of(st.binary(max_size=60), FRAMES.map(record_of)), st.integers(0, 59), st.integers(0, 255))
def test_any_bytes_are_frames_or_an_error_and_nothing_in_between(data: bytes, at: int, byte: int) -> None:
    if data:
        changed = bytearray(data)
        changed[at % len(data)] = byte
        data = bytes(changed)
    try:
        frames, announced = cut(data)
    except RemoteProtocolError:
        return
    tail = b"" if announced is None else frame_head(*announced, None)
    assert record_of(frames) + tail == data


@pytest.mark.parametrize("record", [b"", b"\x02" * 12, frame_head(2, 1, 5) + b"four", frame_head(99, 1, 0)])
def test_a_record_that_is_not_filled_by_its_frames_is_refused(record: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        cut(record)


@pytest.mark.threat("T-FLOOD")
def test_a_record_of_countless_tiny_frames_is_refused() -> None:
    ping = frame_head(Kind.PING, 0, 0)
    count = MAX_SHARED_BYTES // len(ping)
    assert len(cut(ping * count)[0]) == count
    with pytest.raises(RemoteProtocolError, match="too long"):
        cut(ping * (count + 1))


def read(reader: FrameReader, pieces: list[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for piece in pieces:
        rest = piece
        while rest:
            room = reader.get_buffer(len(rest))
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            found += [bytes(record) for record in reader.filled(count)]
            rest = rest[count:]
    return found


@given(
    records=st.lists(st.binary(min_size=1, max_size=40), max_size=10),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
)
def test_records_are_found_however_the_stream_is_cut(records: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(length_prefix(record) + record for record in records)
    pieces, position = [], 0
    while position < len(stream):
        size = cuts[position % len(cuts)]
        pieces.append(stream[position : position + size])
        position += size
    assert read(FrameReader(), pieces) == records
    assert [bytes(record) for record in FrameReader().feed(stream)] == records


@pytest.mark.parametrize("size", [1, 1000, (64 << 10) - 4, 64 << 10, 5 << 20])
@pytest.mark.parametrize("piece", [777, 40_000, 1 << 20])
def test_records_of_every_size_pass_one_after_another(size: int, piece: int) -> None:
    record = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stream = (length_prefix(record) + record) * 2 + length_prefix(b"end") + b"end"
    reader = FrameReader()
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    assert read(reader, pieces) == [record, record, b"end"]
    reader.trim()
    assert len(reader.get_buffer(1)) == 64 << 10


@pytest.mark.threat("T-FLOOD")
def test_a_length_over_the_limit_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(RemoteProtocolError):
        read(FrameReader(limit=10), [(11).to_bytes(4)])
    reader = FrameReader(limit=10)
    assert read(reader, [b"\0\0"]) == []
    with pytest.raises(RemoteProtocolError):
        read(reader, [b"\0\x0b"])
    assert read(FrameReader(limit=10), [(10).to_bytes(4) + b"x" * 10]) == [b"x" * 10]


@pytest.mark.threat("T-FLOOD")
def test_a_length_alone_takes_no_memory() -> None:
    reader = FrameReader()
    assert read(reader, [(60 << 20).to_bytes(4), *[b"x" * 50_000] * 4]) == []
    assert len(reader.get_buffer(1)) < 1 << 20


@pytest.mark.threat("T-FLOOD")
@pytest.mark.interpreted
def test_a_record_in_tiny_pieces_is_moved_rarely() -> None:
    class Counting(FrameReader):
        moved = 0

        def _make_room(self, hint: int) -> None:
            self.moved += self._end - self._start
            super()._make_room(hint)

    size = 300_000
    for piece in (1, 7, 500):
        reader = Counting()
        stream = (length_prefix(b"x" * size) + b"x" * size) * 2
        pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
        assert len(read(reader, pieces)) == 2
        assert reader.moved < 2 * len(stream)


def test_an_empty_record_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        read(FrameReader(), [bytes(4)])
