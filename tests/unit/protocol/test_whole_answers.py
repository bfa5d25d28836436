from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.protocol import (
    LARGE_BODY_BYTES,
    BodyChunk,
    ResponseEnd,
    ResponseReader,
    SseReader,
    WholeAnswers,
    collect,
    response_bytes,
)
from sekisho.protocol.whole_answers import MAX_MEMO, MAX_MEMO_HEAD_BYTES

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: {}\n\n"


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (*chunks, b""))


def known(*answers: bytes) -> WholeAnswers:
    memo = WholeAnswers()
    for answer in answers:
        memo.learn(answer, ResponseReader().feed(answer))
    return memo


def test_an_answer_with_a_known_head_is_given_without_a_parser() -> None:
    memo = known(response_bytes(200, b"{}"))
    assert memo.body_of(response_bytes(200, b"[]")) == b"[]"
    assert memo.body_of(response_bytes(200, b"[1]")) is None
    for other in (b"{}x", b"{", b"", b"{}" + response_bytes(200, b"{}")):
        assert memo.body_of(response_bytes(200, b"{}").removesuffix(b"{}") + other) is None
    memo.forget()
    assert memo.body_of(response_bytes(200, b"[]")) is None


@pytest.mark.parametrize(
    "answer",
    [
        response_bytes(202, b"{}"),
        response_bytes(200, b"{}", content_type="text/event-stream"),
        response_bytes(200, b"{}", close=True),
        response_bytes(200, b"{}").replace(b"1.1 200", b"1.0 200"),
        response_bytes(200, b""),
        response_bytes(200, b"{}")[:-1],
        response_bytes(200, b"{}") * 2,
        response_bytes(200, b"{}", headers=[("X", "x" * MAX_MEMO_HEAD_BYTES)]),
        b"HTTP/1.1 100 Continue\r\n\r\n" + response_bytes(200, b"{}"),
        response_bytes(200, b"{}").replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")[:-2]
        + b"2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_only_the_usual_answer_is_remembered(answer: bytes) -> None:
    assert known(answer).body_of(answer) is None


LARGE = response_bytes(200, b"[%b]" % (b"1," * (LARGE_BODY_BYTES // 2)))
LARGE_BODY_AT = LARGE.index(b"\r\n\r\n") + 4


@pytest.mark.parametrize("size", [LARGE_BODY_AT, LARGE_BODY_AT + 1, len(LARGE) - 1])
def test_the_beginning_of_an_answer_with_a_known_head_is_given_without_a_parser(size: int) -> None:
    memo = known(LARGE[:size])
    found = memo.begun_of(LARGE[:200])
    assert found is not None
    head, begun = found
    assert (head.status, head.is_json, head.headers["content-length"]) == (200, True, "65538")
    assert begun == LARGE[LARGE_BODY_AT:200]
    assert memo.begun_of(LARGE[:LARGE_BODY_AT]) == (head, b"")
    assert memo.begun_of(LARGE) is None, "it is whole"
    assert memo.begun_of(LARGE + b"x") is None, "it is more than that"
    assert memo.begun_of(LARGE[: LARGE_BODY_AT - 1]) is None
    assert memo.begun_of(LARGE[:200].replace(b"65538", b"65539")) is None
    memo.forget()
    assert memo.begun_of(LARGE[:200]) is None


@pytest.mark.parametrize(
    "begun",
    [
        LARGE.replace(b" 200 ", b" 202 ", 1)[:-1],
        LARGE.replace(b"application/json", b"text/event-stream")[:-1],
        LARGE.replace(b"1.1 200", b"1.0 200")[:-1],
        LARGE.replace(b"Content-Length", b"Connection: close\r\nContent-Length")[:-1],
        LARGE[:LARGE_BODY_AT].replace(b"Content-Length: 65538", b"Transfer-Encoding: chunked") + b"3\r\n[1]",
        LARGE.replace(b"Content-Length: 65538\r\n", b"")[:-1],
        b"HTTP/1.1 100 Continue\r\n\r\n" + LARGE[:-1],
        LARGE.replace(b"Content-Length", b"X: %b\r\nContent-Length" % (b"x" * MAX_MEMO_HEAD_BYTES))[:-1],
        response_bytes(200, b""),
        response_bytes(200, b"[%b]" % (b"1" * (LARGE_BODY_BYTES - 3)))[:-1],  # not large
        response_bytes(200, b"{}") + LARGE[:-1],
    ],
)
def test_only_the_usual_beginning_is_remembered(begun: bytes) -> None:
    assert known(begun).begun_of(begun) is None


@pytest.mark.threat("T-GARBAGE")
@given(
    st.binary(max_size=5), st.integers(0, len(LARGE) - 1), st.integers(0, 3), st.integers(1, len(LARGE) + 9)
)
def test_a_beginning_taken_without_a_parser_is_what_the_parser_gives(
    junk: bytes, at: int, removed: int, size: int
) -> None:
    memo = known(LARGE[:-1])
    data = (LARGE[:at] + junk + LARGE[at + removed :])[:size]
    found = memo.begun_of(data)
    if found is not None:
        head, *rest = ResponseReader().feed(data)
        assert (head, b"".join(one.data for one in rest if isinstance(one, BodyChunk))) == found
        assert not any(isinstance(one, ResponseEnd) for one in rest)


def test_a_server_whose_large_answers_never_begin_alike_fills_no_memory() -> None:
    memo = WholeAnswers()
    for number in range(2 * MAX_MEMO + 1):
        begun = LARGE.replace(b"\r\n", b"\r\nX: %d\r\n" % number, 1)[:-1]
        memo.learn(begun, ResponseReader().feed(begun))
    assert memo.begun_of(LARGE.replace(b"\r\n", b"\r\nX: 0\r\n", 1)[:-1]) is None
    assert memo.begun_of(begun) is not None


@pytest.mark.threat("T-GARBAGE")
@given(
    st.lists(st.sampled_from([b"{}", b"[1]", b'"\r\n\r\n"']), min_size=1, max_size=3),
    st.sampled_from([b"{}", b"[1]", b'"\r\n\r\n"', b""]),
    st.binary(max_size=5),
    st.integers(0, 200),
    st.integers(0, 3),
)
def test_what_is_taken_without_a_parser_is_what_the_parser_gives(
    learned: list[bytes], body: bytes, junk: bytes, at: int, removed: int
) -> None:
    memo = known(*(response_bytes(200, one) for one in learned))
    data = response_bytes(200, body)
    at %= len(data) + 1
    data = data[:at] + junk + data[at + removed :]
    found = memo.body_of(data)
    if found is not None:
        response = collect(ResponseReader().feed(data))
        assert (response.status, response.body, response.keep_alive) == (200, found, True)


@pytest.mark.threat("T-FLOOD")
def test_a_server_that_never_says_the_same_twice_fills_no_memory() -> None:
    answers = [response_bytes(200, b"{}", headers=[("X", str(number))]) for number in range(MAX_MEMO + 1)]
    memo = known(*answers)
    assert memo.body_of(answers[0]) is None
    assert memo.body_of(answers[-1]) == b"{}"


@pytest.mark.parametrize("chunks", [(EVENT,), (EVENT, EVENT), (b"d", b"ata: {}\r\n\r\n")])
def test_a_stream_that_is_whole_is_given_without_a_parser(chunks: Sequence[bytes]) -> None:
    memo = known(STREAM + chunked(EVENT * 3))
    found = memo.stream_of(STREAM + chunked(*chunks))
    assert found is not None
    assert (found[0].status, found[0].is_event_stream, found[1]) == (200, True, b"".join(chunks))
    memo.forget()
    assert memo.stream_of(STREAM + chunked(*chunks)) is None


@pytest.mark.parametrize(
    "body",
    [
        chunked(EVENT)[:-1],
        chunked(EVENT) + b"x",
        chunked(EVENT) * 2,
        chunked(EVENT).replace(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"a;x=y\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"0a\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"+a\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"9\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"a\n"),
        chunked(),
        EVENT,
        b"",
    ],
)
def test_a_stream_that_is_not_whole_or_unusual_goes_to_the_reader(body: bytes) -> None:
    assert known(STREAM + chunked(EVENT)).stream_of(STREAM + body) is None


@pytest.mark.parametrize(
    "head",
    [
        STREAM.replace(b"200 OK", b"202 Accepted"),
        STREAM.replace(b"text/event-stream", b"application/json"),
        STREAM.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        STREAM.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * MAX_MEMO_HEAD_BYTES)),
    ],
)
def test_only_the_usual_stream_is_remembered(head: bytes) -> None:
    answer = head + chunked(EVENT)
    memo = known(answer)
    assert memo.stream_of(answer) is None
    assert memo.body_of(answer) is None


@pytest.mark.threat("T-FLOOD")
def test_a_server_whose_streams_never_begin_alike_fills_no_memory() -> None:
    heads = [STREAM.replace(b"\r\n\r\n", b"\r\nX: %d\r\n\r\n" % number) for number in range(MAX_MEMO + 1)]
    memo = known(*(head + chunked(EVENT) for head in heads))
    assert memo.stream_of(heads[0] + chunked(EVENT)) is None
    assert memo.stream_of(heads[-1] + chunked(EVENT)) is not None


@pytest.mark.threat("T-GARBAGE")
@given(
    st.lists(st.sampled_from([EVENT, b"\r\n", b"0\r\n\r\n", b"x" * 20]), min_size=1, max_size=4),
    st.one_of(st.binary(max_size=5), st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n"])),
    st.integers(0, 300),
    st.integers(0, 4),
)
def test_a_stream_taken_without_a_parser_is_what_the_parser_gives(
    chunks: list[bytes], junk: bytes, at: int, removed: int
) -> None:
    memo = known(STREAM + chunked(EVENT))
    data = STREAM + chunked(*chunks)
    at %= len(data) + 1
    data = data[:at] + junk + data[at + removed :]
    found = memo.stream_of(data)
    if found is not None:
        assert ResponseReader().feed(data) == [found[0], BodyChunk(found[1]), ResponseEnd(keep_alive=True)]


@pytest.mark.parametrize(
    "form",
    [
        b"event: message\r\ndata: %b\r\n\r\n",
        b"event: message\ndata: %b\n\n",
        b"data: %b\r\n\r\n",
        b"data: %b\n\n",
    ],
)
def test_the_messages_of_a_whole_stream_are_given_without_a_parser(form: bytes) -> None:
    memo = known(STREAM + chunked(EVENT))
    messages = [b"x" * size for size in (1, 1, 9, 230, 235, 240, 250, 4070, 4090, 65500, 65536)]
    found = memo.messages_of(STREAM + chunked(*(form % one for one in messages)))
    assert found is not None
    assert (found[0].is_event_stream, found[1]) == (True, messages)
    memo.forget()
    assert memo.messages_of(STREAM + chunked(form % b"{}")) is None


@pytest.mark.parametrize(
    "body",
    [
        chunked(EVENT * 2),
        chunked(EVENT[:3], EVENT[3:]),
        chunked(EVENT, b"id: 1\n" + EVENT),
        chunked(EVENT, b": still here\n\n"),
        chunked(EVENT, b"event: message\n" + EVENT),
        chunked(b"data: {\ndata: }\n\n"),
        chunked(b"data: \n\n"),
        chunked(b"data: a\rb\n\n"),
        chunked(EVENT).replace(b"a\r\n", b"A\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"0a\r\n"),
        chunked(EVENT).replace(b"a\r\n", b"9\r\n"),
        chunked(EVENT) + chunked(EVENT),
        chunked(EVENT).replace(b"\r\n0", b"0"),
        chunked(),
    ],
)
def test_messages_that_do_not_stand_as_usual_are_not_given(body: bytes) -> None:
    assert known(STREAM + chunked(EVENT)).messages_of(STREAM + body) is None


_LINE = st.sampled_from(
    [b"{}", b"\r\n", b"\n", b"\n\n", b"data: ", b"event: message\n", b"8\r\n", b"0", b"x"]
)


@pytest.mark.threat("T-GARBAGE")
@given(
    st.lists(st.lists(_LINE, max_size=3).map(b"".join), min_size=1, max_size=4),
    st.sampled_from(
        [b"event: message\r\ndata: %b\r\n\r\n", b"event: message\ndata: %b\n\n", b"data: %b\n\n"]
    ),
    st.one_of(st.binary(max_size=5), _LINE),
    st.integers(0, 200),
    st.integers(0, 6),
)
def test_messages_taken_without_a_parser_are_those_that_both_parsers_give(
    said: list[bytes], form: bytes, junk: bytes, at: int, removed: int
) -> None:
    memo = known(STREAM + chunked(EVENT))
    data = STREAM + chunked(*(form % one for one in said))
    at %= len(data) + 1
    data = data[:at] + junk + data[at + removed :]
    found = memo.messages_of(data)
    if found is not None:
        head, chunk, end = ResponseReader().feed(data)
        assert isinstance(chunk, BodyChunk)
        assert (head, end) == (found[0], ResponseEnd(keep_alive=True))
        reader = SseReader()
        assert (reader.feed(chunk.data), reader.last_event_id, reader.retry_ms) == (found[1], "", None)
