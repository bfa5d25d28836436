"""What a stream says about resuming it, and the names of its events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.protocol import SseEvent, SseReader


def _after(stream: bytes) -> tuple[str, int | None]:
    reader = SseReader()
    reader.feed(stream)
    return reader.last_event_id, reader.retry_ms


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"id: e-1\nretry: 500\ndata: \n\n", ("e-1", 500)),
        (b"id: e-1\ndata: x\n\ndata: y\n\n", ("e-1", None)),
        (b"id: e-1\ndata: x\n\nid: e-2\n", ("e-1", None)),
        (b"id: e-1\ndata: x\n\nid\ndata: y\n\n", ("", None)),
        (b"id: a b\n\n", ("a b", None)),
        (b"retry: 5x\nretry: -1\nretry:\n\n", ("", None)),
        (b"retry: 99999999999999999999\n\n", ("", None)),
    ],
)
def test_the_id_of_the_last_whole_event_and_the_pause_are_kept(
    stream: bytes, wanted: tuple[str, int | None]
) -> None:
    assert _after(stream) == wanted


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("ident", [b"a\x00b", b"\xc3\xa9", b"a\tb", b" x ", b"x" * 2000])
def test_an_id_that_cannot_be_sent_back_is_none(ident: bytes) -> None:
    assert _after(b"id: " + ident + b"\ndata: x\n\n")[0] == ""


def test_a_resumed_stream_is_where_it_was_until_it_says_otherwise() -> None:
    reader = SseReader(last_event_id="e-1")
    reader.feed(b": alive\n\ndata: x\n\n")
    assert reader.last_event_id == "e-1"
    reader.feed(b"id: e-2\ndata: x\n\n")
    assert reader.last_event_id == "e-2"


def test_events_of_other_names_are_not_messages() -> None:
    stream = b"event: endpoint\ndata: /m\n\nevent: message\ndata: 1\n\ndata: 2\n\n"
    assert SseReader().feed(stream) == [b"1", b"2"]
    assert SseReader().feed_named(stream) == [
        SseEvent("endpoint", b"/m"),
        SseEvent("message", b"1"),
        SseEvent("message", b"2"),
    ]


def test_a_name_that_came_before_belongs_to_the_event_that_follows() -> None:
    reader = SseReader()
    assert reader.feed(b"event: endpoint\n") == []
    assert reader.feed(b"data: /m\n\n") == []
    assert reader.feed(b"id: 7\n") == []
    assert reader.feed(b"data: 1\n\n") == [b"1"]
    assert reader.last_event_id == "7"


PARTS = st.sampled_from([b"id: 1\n", b"id: 2\n", b"id\n", b"retry: 7\n", b"event: x\n", b"data: y\n", b"\n"])


@given(st.lists(PARTS), st.lists(st.integers(0, 60)))
def test_the_pieces_change_neither_names_nor_ids(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    whole, pieces = SseReader(), SseReader()
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    found = [one for a, b in pairwise(edges) for one in pieces.feed(stream[a:b])]
    assert found == whole.feed(stream)
    assert (pieces.last_event_id, pieces.retry_ms) == (whole.last_event_id, whole.retry_ms)
