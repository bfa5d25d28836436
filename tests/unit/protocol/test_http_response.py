"""HTTP/1.1 responses as events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import (
    BodyChunk,
    HttpLimits,
    ResponseEnd,
    ResponseEvent,
    ResponseHead,
    ResponseReader,
    SseReader,
    collect,
    response_bytes,
)

SMALL = HttpLimits(max_head_bytes=500, max_body_bytes=100)


def read(*pieces: bytes, limits: HttpLimits | None = None) -> list[ResponseEvent]:
    reader = ResponseReader(limits)
    return [event for piece in pieces for event in reader.feed(piece)]


def code_of(*pieces: bytes, limits: HttpLimits | None = None) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read(*pieces, limits=limits)
    return caught.value.code


def test_a_response_is_read_as_events() -> None:
    head, body, end = read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\n{}")
    assert head == ResponseHead(status=200, headers={"content-length": "2", "x-a": "b"}, keep_alive=True)
    assert (body, end) == (BodyChunk(b"{}"), ResponseEnd(keep_alive=True))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.lists(st.integers(0, 400)))
def test_the_pieces_in_which_responses_arrive_change_nothing(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(response_bytes(200, body) for body in bodies)
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    found: list[bytes] = []
    events: list[ResponseEvent] = []
    for event in read(*(stream[start:end] for start, end in pairwise(edges))):
        events.append(event)
        if isinstance(event, ResponseEnd):
            found.append(collect(events).body)
            events = []
    assert found == bodies
    assert not events


def test_chunks_and_lengths_end_a_response() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    assert collect(read(chunked)).body == b"abcd"
    assert collect(read(b"HTTP/1.1 204 No Content\r\n\r\n")).keep_alive
    assert not collect(read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).keep_alive


def test_interim_responses_are_skipped() -> None:
    events = read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        response_bytes(200, b"{}"),
    )
    assert collect(events).status == 200


def test_a_response_may_last_until_the_connection_ends() -> None:
    reader = ResponseReader()
    events = reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") + reader.feed(b"def") + reader.eof()
    response = collect(events)
    assert (response.body, response.keep_alive) == (b"abcdef", False)


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_a_response_that_ends_early_is_an_error_never_a_short_body(stream: bytes) -> None:
    reader = ResponseReader()
    reader.feed(stream)
    with pytest.raises(RemoteProtocolError):
        reader.eof()


def test_the_end_between_responses_is_no_error() -> None:
    reader = ResponseReader()
    assert reader.eof() == []
    reader.feed(response_bytes(200, b"x"))
    assert not reader.in_response
    assert reader.eof() == []


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "stream",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nMcp-Session-Id: a\r\nMcp-Session-Id: b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
    ],
)
def test_a_malformed_response_is_refused(stream: bytes) -> None:
    assert code_of(stream) == "plugin_protocol"


@pytest.mark.threat("T-GARBAGE")
def test_a_response_over_the_limits_is_refused() -> None:
    assert code_of(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", limits=SMALL) == "result_too_large"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert code_of(chunked, b"65\r\n" + b"x" * 101, limits=SMALL) == "result_too_large"
    assert code_of(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 101, limits=SMALL) == "result_too_large"
    assert code_of(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 600 + b"\r\n\r\n", limits=SMALL) == "result_too_large"
    assert code_of(b"HTTP/1.1 200 OK\r\nX: ", *[b"a" * 100] * 6, limits=SMALL) == "result_too_large"
    assert code_of(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 102) == "result_too_large"


@pytest.mark.threat("T-GARBAGE")
def test_endless_chunk_extensions_are_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    assert code_of(head, *[b"a" * 1000] * 70) == "plugin_protocol"


def test_an_event_stream_has_no_total_limit() -> None:
    kind = b"Content-Type: Text/Event-Stream; charset=utf-8\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + kind + b"Transfer-Encoding: chunked\r\n\r\n"
    event = b"data: {}\n\n"
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    events = read(head, *[chunk] * 50, b"0\r\n\r\n", limits=SMALL)
    assert isinstance(events[0], ResponseHead)
    assert events[0].is_event_stream
    reader = SseReader()
    found = [data for item in events if isinstance(item, BodyChunk) for data in reader.feed(item.data)]
    assert found == [b"{}"] * 50


def test_what_follows_101_is_the_new_protocol() -> None:
    reader = ResponseReader()
    events = reader.feed(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\x00\x01"
    )
    assert collect(events).status == 101
    assert reader.feed(b"\x02") == []
    assert reader.rest == b"\x00\x01\x02"


def test_after_an_error_nothing_more_is_read() -> None:
    reader = ResponseReader()
    for stream in (b"nonsense\r\n\r\n", response_bytes(200, b"")):
        with pytest.raises(RemoteProtocolError):
            reader.feed(stream)


def test_events_that_are_no_whole_response_are_not_collected() -> None:
    for events in ([], [BodyChunk(b"x")], read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")):
        with pytest.raises(RemoteProtocolError):
            collect(events)


@given(st.binary(max_size=200))
@pytest.mark.threat("T-GARBAGE")
def test_any_bytes_are_events_or_a_refusal(data: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n"):
        try:
            read(start + data)
        except RemoteProtocolError as error:
            assert error.code in {"plugin_protocol", "result_too_large"}  # noqa: PT017 - it may also be accepted


@pytest.mark.parametrize(
    "status", ["100 Continue", "103 Early Hints", "199 x", "204 No Content", "304 Not Modified"]
)
@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"Content-Length: 2\r\n\r\n{}"]
)
def test_a_response_that_has_no_body_may_not_state_one(status: str, framing: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ResponseReader().feed(b"HTTP/1.1 " + status.encode() + b"\r\n" + framing)
    assert caught.value.code == "plugin_protocol"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n"])
def test_a_response_without_a_body_ends_with_its_head(status: str, length: bytes) -> None:
    events = ResponseReader().feed(b"HTTP/1.1 " + status.encode() + b"\r\n" + length + b"\r\n")
    assert collect(events).body == b""
