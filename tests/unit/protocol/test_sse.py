"""Server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
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


FORMS = [b"event: message\ndata: %b\n\n", b"event: message\r\ndata: %b\r\n\r\n", b"data: %b\n\n"]
USUAL = st.sampled_from(
    [
        b"event: message\ndata: ", b"event: message\r\ndata: ", b"data: ", b"\n\n", b"\r\n\r\n", b"\n", b"\r\n",
        b"\r", b"x", b" ", b"{}", b"data:", b"event: other\n", b"\xef\xbb\xbf",
    ]
)  # fmt: skip


@pytest.mark.threat("T-PARSER")
@settings(max_examples=500)
@given(
    st.lists(
        st.one_of(
            st.lists(USUAL, max_size=8).map(b"".join),
            st.tuples(
                st.sampled_from(
                    [b"event: message\ndata: %b\n\n", b"event: message\r\ndata: %b\r\n\r\n", b"data: %b\n\n"]
                ),
                st.lists(st.lists(USUAL, max_size=2).map(b"".join), min_size=1, max_size=4),
            ).map(lambda made: b"".join([made[0] % said for said in made[1]])),
        ),
        max_size=3,
    )
)
def test_events_in_the_usual_form_are_read_as_any_others(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert read(pieces) == read([whole[at : at + 1] for at in range(len(whole))])


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
