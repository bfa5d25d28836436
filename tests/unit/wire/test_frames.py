from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import LocalProtocolError, RemoteProtocolError
from sekisho.wire import frames
from sekisho.wire.frames import FrameReader, Kind, decode, encode, length_prefix


@given(kind=st.sampled_from(Kind), call=st.integers(0, 2**64 - 1), payload=st.binary(max_size=100))
def test_a_frame_survives_being_written_and_read(kind: Kind, call: int, payload: bytes) -> None:
    assert decode(encode(kind, call, payload)) == (kind, call, payload)


@given(st.binary(max_size=30))
def test_any_bytes_are_a_frame_or_an_error(data: bytes) -> None:
    try:
        kind, call, payload = decode(data)
    except RemoteProtocolError:
        return
    assert encode(kind, call, payload) == data


@given(
    records=st.lists(st.binary(min_size=1, max_size=40), max_size=10),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
)
def test_records_are_found_however_the_stream_is_cut(records: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(length_prefix(record) + record for record in records)
    reader, found, position = FrameReader(), [], 0
    while position < len(stream):
        size = cuts[position % len(cuts)]
        found += reader.feed(stream[position : position + size])
        position += size
    assert found == records


@pytest.mark.threat("T-FLOOD")
def test_a_length_over_the_limit_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(RemoteProtocolError):
        FrameReader(limit=10).feed((11).to_bytes(4))
    reader = FrameReader(limit=10)
    assert reader.feed(b"\0\0") == []
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"\0\x0b")
    assert FrameReader(limit=10).feed((10).to_bytes(4) + b"x" * 10) == [b"x" * 10]


def test_an_empty_record_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        FrameReader().feed(bytes(4))


def test_we_do_not_write_a_frame_we_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_PAYLOAD_BYTES", 10)
    encode(Kind.RESULT, 1, b"x" * 10)
    with pytest.raises(LocalProtocolError):
        encode(Kind.RESULT, 1, b"x" * 11)
