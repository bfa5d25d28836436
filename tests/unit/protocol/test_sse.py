"""Server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import SseReader

STREAM = (
    b': hello\r\nevent: message\r\nid: 1\r\ndata: {"a":1}\r\n\r\n'
    b"data:one\rdata: two\r\rdata\n\nretry: 5\n\ndata:  spaced\n\n\n:\ndata: last\n\n"
)
EVENTS = [b'{"a":1}', b"one\ntwo", b" spaced", b"last"]


def read(pieces: list[bytes]) -> list[bytes]:
    reader = SseReader()
    return [event for piece in pieces for event in reader.feed(piece)]


def test_the_data_of_each_event_is_given() -> None:
    assert read([STREAM]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM))))
def test_the_pieces_in_which_events_arrive_change_nothing(cuts: list[int]) -> None:
    edges = sorted({*cuts, 0, len(STREAM)})
    assert read([STREAM[start:end] for start, end in pairwise(edges)]) == EVENTS


def test_byte_by_byte_is_the_same() -> None:
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == EVENTS


def test_a_byte_order_mark_at_the_start_is_skipped() -> None:
    assert read([b"\xef\xbb\xbfdata: x\n\n"]) == [b"x"]


def test_an_unfinished_event_is_not_given() -> None:
    assert read([b"data: x\n"]) == []


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 50, b"data: 1234567\n" * 4, b"data:" + b"x" * 50 + b"\n\n"]
)
def test_an_event_that_never_ends_is_refused(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        SseReader(20).feed(stream)
    assert caught.value.code == "result_too_large"


@pytest.mark.threat("T-GARBAGE")
def test_an_event_of_countless_empty_lines_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        SseReader(100).feed(b"data\n" * 101)
