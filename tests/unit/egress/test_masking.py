"""What a host writes back reaches the plugin as its placeholder."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.masking import MAX_HEAD_BYTES, AnswerMask, StreamReplacer
from sekisho.errors import Refused

VALUE, MARK = b"ghp_16C7e42F292c6912E771", b"sekisho-secret-abcdefgh"
PAIRS = ((VALUE, MARK), (b"Z2hwXzE2QzdlNDJGMjky", b"c2VraXNoby1zZWNyZXQt"))


def in_pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def masked(answer: bytes, cuts: Sequence[int] = (), *, is_head_only: bool = False) -> bytes:
    mask = AnswerMask(PAIRS, is_head_only=is_head_only)
    return b"".join(mask.feed(piece) for piece in in_pieces(answer, cuts)) + mask.finish()


def read(answer: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """As a client understands it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    status, headers, body = 0, {}, b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
        match event:
            case h11.Response():
                status, headers = event.status_code, dict(event.headers)
            case h11.Data():
                body += bytes(event.data)
            case _:
                assert event not in (h11.NEED_DATA, h11.PAUSED)
    return status, headers, body


BODY = b'{"token":"' + VALUE + b'","more":"ghp_16C7"}'
SHOWN = b'{"token":"' + MARK + b'","more":"ghp_16C7"}'
LENGTH = b"HTTP/1.1 200 OK\r\nX-Echo: %s\r\nContent-Length: %d\r\n\r\n%s" % (VALUE, len(BODY), BODY)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nX-Echo: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"14;x=1\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Trailer: %s\r\n\r\n"
    % (VALUE, BODY[:20], len(BODY) - 20, BODY[20:], VALUE)
)
CLOSE = b"HTTP/1.0 200 OK\r\nX-Echo: %s\r\n\r\n%s" % (VALUE, BODY)


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, CLOSE])
@given(st.lists(st.integers(0, 400), max_size=8))
def test_an_echo_is_masked_in_head_and_body_however_it_comes_in(answer: bytes, cuts: list[int]) -> None:
    found = masked(answer, cuts)
    assert VALUE not in found
    status, headers, body = read(found)
    assert (status, headers[b"x-echo"], body) == (200, MARK, SHOWN)


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=8))
def test_an_answer_without_the_value_arrives_as_it_was(body: bytes, cuts: list[int]) -> None:
    answer = b"HTTP/1.1 201 Made\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    assert read(masked(answer, cuts))[2] == body


@given(
    st.lists(st.sampled_from([b"a", b"ab", b"abc", b"b", b"cab", b"x"]), min_size=1, unique=True), st.data()
)
def test_words_are_replaced_in_pieces_as_in_the_whole(words: list[bytes], data: st.DataObject) -> None:
    text = data.draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"x"]), max_size=20).map(b"".join))
    cuts = data.draw(st.lists(st.integers(0, 20), max_size=5))
    pairs = [(word, b"<%d>" % index) for index, word in enumerate(words)]
    replacer = StreamReplacer(pairs)
    found = b"".join(replacer.feed(piece) for piece in in_pieces(text, cuts)) + replacer.finish()
    pattern = b"|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    assert found == re.sub(pattern, lambda hit: dict(pairs)[hit[0]], text)


def test_an_event_is_not_held_back() -> None:
    mask = AnswerMask(PAIRS)
    mask.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    event = b"data: hello\n\n"
    assert mask.feed(b"%x\r\n%s\r\n" % (len(event), event)) == b"d\r\n%s\r\n" % event


def test_an_answer_cut_short_stays_cut_short() -> None:
    assert not masked(LENGTH[:-3]).endswith(b"0\r\n\r\n")
    assert not masked(CHUNKED[:-40]).endswith(b"0\r\n\r\n")


def test_answers_without_a_body_keep_their_length_and_interim_heads_pass() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    assert masked(head, is_head_only=True) == head
    assert masked(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").endswith(b": 7\r\n\r\n")
    early = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert masked(early + LENGTH).startswith(early)
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert masked(empty) == empty


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "deflate, gzip", "x-unknown"])
@pytest.mark.parametrize("framing", ["Content-Length: 24", "Transfer-Encoding: chunked", "X-Until: the end"])
def test_an_answer_that_was_compressed_all_the_same_is_refused_unread(coding: str, framing: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n{framing}\r\n\r\n".encode()
    with pytest.raises(Refused, match="compressed") as caught:
        masked(head + VALUE)
    assert caught.value.code == "secret_refused"


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "identity, gzip"])
@pytest.mark.parametrize("framing", ["Content-Length: 24", "Transfer-Encoding: chunked", "X-Until: the end"])
def test_a_plain_answer_under_the_name_of_a_coding_is_refused_before_a_byte_of_it(
    coding: str, framing: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n{framing}\r\n\r\n".encode()
    mask = AnswerMask(PAIRS)
    shown = mask.feed(head)
    assert shown.endswith(b"\r\n\r\n")
    with pytest.raises(Refused, match="compressed") as caught:
        mask.feed(b"18\r\n%s\r\n" % VALUE if "chunked" in framing else VALUE)
    assert caught.value.code == "secret_refused"


def test_a_coding_of_nothing_hides_nothing() -> None:
    empty = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"
    assert masked(empty) == empty
    plain = b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi"
    assert read(masked(plain))[2] == b"hi"


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity, Deflate": lambda data: zlib.compress(data, wbits=-15),
}


def coded(coding: str, body: bytes, *more: str) -> bytes:
    head = "\r\n".join(("HTTP/1.1 200 OK", f"Content-Encoding: {coding}", *more))
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("coding", CODINGS)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_an_echo_in_a_coding_that_can_be_read_is_masked_and_passed_on_without_it(
    coding: str, cuts: list[int]
) -> None:
    answer = coded(
        coding, CODINGS[coding](BODY), 'ETag: "1"', "Content-MD5: x", "Repr-Digest: y", "Accept-Ranges: bytes"
    )
    status, headers, body = read(masked(answer, cuts))
    assert (status, body) == (200, SHOWN)
    assert headers == {b"etag": b'W/"1"', b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize("coding", CODINGS)
def test_an_answer_that_tells_nothing_arrives_as_it_was_meant(coding: str) -> None:
    body = b"an honest text, " * 5000
    assert read(masked(coded(coding, CODINGS[coding](body), 'ETag: W/"1"')))[2] == body


def test_members_one_after_the_other_are_one_body_and_hide_nothing_at_their_edges() -> None:
    at = BODY.index(VALUE) + 7
    answer = coded("gzip", gzip.compress(BODY[:at]) + gzip.compress(b"") + gzip.compress(BODY[at:]))
    assert read(masked(answer, range(len(answer))))[2] == SHOWN


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "X-Until: the end"])
def test_a_coded_answer_in_chunks_or_until_the_end_is_read_and_ended(framing: str) -> None:
    body = gzip.compress(BODY)
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if "chunked" in framing else body
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n{framing}\r\n\r\n".encode()
    assert read(masked(head + sent, (90,)))[2] == SHOWN


def test_one_that_is_cut_short_is_not_ended() -> None:
    body = gzip.compress(BODY)[:-4]
    with pytest.raises(Refused, match="cut short"):
        masked(coded("gzip", body))
    until_close = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + body
    assert not masked(until_close).endswith(b"0\r\n\r\n")


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("status", [b"206 Partial Content", b"226 IM Used"])
def test_a_part_of_an_answer_is_refused_unread(status: bytes) -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    for answer in (coded("gzip", gzip.compress(BODY)), plain):
        with pytest.raises(Refused, match="a part of its answer"):
            masked(answer.replace(b"200 OK", status))
    head = plain[:-3].replace(b"200 OK", status)
    assert masked(head, is_head_only=True) == head  # says only how long a part would be


def test_where_no_body_comes_the_head_is_that_of_the_body_that_would() -> None:
    answer = coded("br", b"", 'ETag: "1"').replace(b"Length: 0", b"Length: 77")
    assert masked(answer, is_head_only=True) == b'HTTP/1.1 200 OK\r\nETag: W/"1"\r\n\r\n'
    unchanged = answer.replace(b"200 OK", b"304 Not Modified")
    assert masked(unchanged) == b'HTTP/1.1 304 Not Modified\r\nETag: W/"1"\r\n\r\n'


@pytest.mark.parametrize("field", [b"Content-Encoding : gzip", b" gzip: x", b"Content-Encoding\t: gzip"])
def test_a_field_that_hides_its_name_is_refused(field: bytes) -> None:
    with pytest.raises(Refused, match="malformed"):
        masked(b"HTTP/1.1 200 OK\r\nX: y\r\n%s\r\nContent-Length: 1\r\n\r\nx" % field)


def test_what_follows_an_upgrade_passes_unchanged() -> None:
    upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + VALUE
    assert masked(upgraded) == upgraded


def test_nothing_follows_the_one_answer() -> None:
    assert masked(LENGTH + b"HTTP/1.1 200 OK\r\n\r\n" + VALUE) == masked(LENGTH)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naa\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5000,
    ],
)
def test_an_answer_that_two_readers_may_read_differently_is_refused(answer: bytes) -> None:
    with pytest.raises(Refused):
        masked(answer)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_no_answer_breaks_the_mask(data: bytes, cuts: list[int]) -> None:
    try:
        masked(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data, cuts)
    except Refused:
        return
