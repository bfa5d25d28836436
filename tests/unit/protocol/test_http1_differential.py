"""Requests read in any pieces, by any reader, with or without a memo of heads: always the same requests.

h11 and llhttp alone are the other readers. The corpus holds the known ways to make two readers disagree
(RFC 9112 section 11.2); each entry is refused, or read alike by all three.
"""

from __future__ import annotations

import tracemalloc

import pytest
from fuzz.http import Heard, read_requests, same_for_others
from fuzz.values import pieces
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import HeadMemo, HttpLimits, HttpRequest, RequestReader

HOST = b"Host: a\r\n"
OK = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"POST /mcp HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
REFUSED: dict[str, tuple[bytes, str]] = {
    "length and chunked": (post(b"Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG"), "http_malformed"),
    "chunked and length": (post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), "http_malformed"),
    "two codings": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), "http_malformed"),
    "coding twice": (post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), "http_malformed"),
    "chunked then identity": (
        post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        "http_malformed",
    ),
    "xchunked": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), "http_malformed"),
    "chunked in quotes": (post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), "http_malformed"),
    "vertical tab before chunked": (
        post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
        "http_malformed",
    ),
    "NUL after chunked": (post(b"Transfer-Encoding: chunked\x00", body=b"0\r\n\r\n"), "http_malformed"),
    "chunked, comma": (post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n"), "http_malformed"),
    "blank before the colon": (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), "http_malformed"),
    "tab before the colon": (post(b"Content-Length\t: 2", body=b"{}"), "http_malformed"),
    "blank before the name": (post(b" Content-Length: 2", body=b"{}"), "http_malformed"),
    "folded": (post(b"X: a", b" b", b"Content-Length: 2", body=b"{}"), "http_malformed"),
    "folded coding": (post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), "http_malformed"),
    "no colon": (post(b"Content-Length 2", body=b"{}"), "http_malformed"),
    "empty name": (post(b": x"), "http_malformed"),
    "length twice": (post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), "http_malformed"),
    "two lengths": (post(b"Content-Length: 0", b"Content-Length: 2", body=b"{}"), "http_malformed"),
    "length as a list": (post(b"Content-Length: 2, 2", body=b"{}"), "http_malformed"),
    "length with a sign": (post(b"Content-Length: +2", body=b"{}"), "http_malformed"),
    "negative length": (post(b"Content-Length: -2", body=b"{}"), "http_malformed"),
    "hexadecimal length": (post(b"Content-Length: 0x2", body=b"{}"), "http_malformed"),
    "length with an underscore": (post(b"Content-Length: 1_0", body=b"{}"), "http_malformed"),
    "length in other digits": (post("Content-Length: ２".encode(), body=b"{}"), "http_malformed"),
    "length with a fraction": (post(b"Content-Length: 2.0", body=b"{}"), "http_malformed"),
    "empty length": (post(b"Content-Length:", body=b"{}"), "http_malformed"),
    "length beyond 64 bits": (post(b"Content-Length: 18446744073709551618", body=b"{}"), "http_malformed"),
    "host twice": (post(HOST[:-2]), "http_malformed"),
    "no host": (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "http_malformed"),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", "http_malformed"),
    "one bare line feed": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "http_malformed"),
    "bare line feed before the body": (b"GET / HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n", "http_malformed"),
    "bare carriage return": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", "http_malformed"),
    "carriage return in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "http_malformed"),
    "NUL in a value": (post(b"X: a\x00b"), "http_malformed"),
    "NUL in a name": (post(b"X\x00: a"), "http_malformed"),
    "vertical tab in a name": (post(b"X\x0b: a"), "http_malformed"),
    "absolute target": (b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "authority as target": (b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "fragment in the target": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "blank in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "blank twice after the method": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "blank twice after the target": (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "blank at the end of the line": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "http_malformed"),
    "tab in the request line": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "RTSP": (b"GET / RTSP/1.0\r\n\r\n", "http_malformed"),
    "ICE": (b"SOURCE / ICE/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "empty line before": (b"\r\n" + OK, "http_malformed"),
    "tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "http_malformed"),
    "HTTP/0.9": (b"GET /\r\n\r\n", "http_malformed"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http_malformed"),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "http_malformed"),
    "http in small letters": (b"GET / http/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "http_malformed",
    ),
    "method in small letters": (b"post / HTTP/1.1\r\nHost: a\r\n\r\n", "http_malformed"),
    "TLS on a plain port": (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\r\n\r\n", "http_malformed"),
    "trailer": (post(CHUNKED, body=b"0\r\nContent-Length: 9\r\n\r\n"), "http_malformed"),
    "chunk size with a sign": (post(CHUNKED, body=b"+2\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "hexadecimal prefix": (post(CHUNKED, body=b"0x2\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "chunk size beyond 64 bits": (
        post(CHUNKED, body=b"1" + b"0" * 16 + b"2\r\n{}\r\n0\r\n\r\n"),
        "http_malformed",
    ),
    "chunk longer than stated": (post(CHUNKED, body=b"1\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "bare line feed in chunks": (post(CHUNKED, body=b"2\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "bare line feed in an extension": (post(CHUNKED, body=b"2;a\nb\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "blank before an extension": (post(CHUNKED, body=b"2 ;a=b\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "extension beyond ASCII": (post(CHUNKED, body=b"2;a=b\xe1\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "extension with an open quote": (post(CHUNKED, body=b'2;a="b\r\n{}\r\n0\r\n\r\n'), "http_malformed"),
    "empty extension": (post(CHUNKED, body=b"2;\r\n{}\r\n0\r\n\r\n"), "http_malformed"),
    "strange expectation": (post(b"Expect: 200-ok", b"Content-Length: 0"), "http_malformed"),
    "huge head": (post(b"X: " + b"a" * 40_000), "header_too_large"),
    "many headers": (post(*[b"X%d: a" % n for n in range(200)]), "header_too_large"),
    "huge target": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", "header_too_large"),
    "huge body": (post(b"Content-Length: 99999999"), "body_too_large"),
    "huge chunk": (post(CHUNKED, body=b"5f5e0ff\r\n" + b"x" * (11 << 20)), "body_too_large"),
}
ACCEPTED: dict[str, tuple[bytes, bytes]] = {
    "length": (post(b"Content-Length: 2", body=b"{}"), b"{}"),
    "length with zeros": (post(b"Content-Length: 002", body=b"{}"), b"{}"),
    "length with blanks": (post(b"Content-Length:   2 \t", body=b"{}"), b"{}"),
    "chunked": (post(CHUNKED, body=b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), b"{}"),
    "chunked in capitals": (post(b"TRANSFER-ENCODING: CHUNKED", body=b"2\r\n{}\r\n0\r\n\r\n"), b"{}"),
    "chunk size in capitals": (post(CHUNKED, body=b"A\r\n{12345678}\r\n0\r\n\r\n"), b"{12345678}"),
    "short extension": (post(CHUNKED, body=b"2;a=b\r\n{}\r\n0\r\n\r\n"), b"{}"),
    "no body": (OK, b""),
    "body that looks like a head": (post(b"Content-Length: %d" % len(OK), body=OK), OK),
    "value beyond ASCII": (post(b"X: \xe9", b"Content-Length: 0"), b""),
    "HTTP/1.0, kept open": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b""),
    "an offer that is ignored": (
        post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2", body=b"{}"),
        b"{}",
    ),
}


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("name", REFUSED)
def test_what_readers_disagree_about_is_refused_in_any_pieces(name: str) -> None:
    stream, code = REFUSED[name]
    for seed in range(4 if len(stream) < 1 << 16 else 1):
        cut = [stream] if seed == 0 else list(pieces(stream, seed + 65))
        heard = read_requests(RequestReader(), cut)
        assert heard.code == code
        assert heard.requests == []


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_is_read_alike_by_other_readers(name: str) -> None:
    stream, body = ACCEPTED[name]
    for seed in range(20):
        heard = read_requests(RequestReader(), list(pieces(stream + OK, seed)))
        assert heard.code is None
        assert [one.body for one in heard.requests] == [body, b""]
        same_for_others(stream + OK, heard.requests)


def test_an_old_request_that_does_not_ask_to_stay_is_the_last() -> None:
    heard = read_requests(RequestReader(), [b"GET / HTTP/1.0\r\n\r\n"])
    assert [one.keep_alive for one in heard.requests] == [False]


def test_after_a_refusal_nothing_more_is_read() -> None:
    reader = RequestReader()
    with pytest.raises(SekishoError):
        reader.feed(b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n")
    with pytest.raises(SekishoError):
        reader.feed(OK)


PARTS = st.sampled_from(
    [
        *(stream for stream, _ in ACCEPTED.values()),
        *(stream for stream, _ in REFUSED.values() if len(stream) < 500),
        b"\r\n", b"\n", b" ", b"\x00", b"0\r\n\r\n", HOST, CHUNKED + b"\r\n", b"Content-Length: 2\r\n",
    ]
)  # fmt: skip
STREAMS = st.lists(PARTS, min_size=1, max_size=5).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A stream with a few bytes lost, doubled or put in."""
    stream = draw(STREAMS)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream)))
        stream = stream[:at] + draw(st.binary(max_size=2)) + stream[at + draw(st.integers(0, 2)) :]
    return stream


@pytest.mark.threat("T-PARSER")
@given(damaged(), st.integers(0, 1 << 16))
def test_pieces_change_nothing_and_other_readers_agree(stream: bytes, seed: int) -> None:
    whole = read_requests(RequestReader(), [stream])
    cut = read_requests(RequestReader(), list(pieces(stream, seed)))
    assert cut.code == whole.code
    assert cut.requests == whole.requests
    same_for_others(stream, cut.requests)


# The memo of heads


def _plain(requests: list[HttpRequest]) -> list[tuple[object, ...]]:
    return [(one.method, one.target, dict(one.headers), bytes(one.body), one.keep_alive) for one in requests]


def _with_memo(memo: HeadMemo, stream: list[bytes]) -> Heard:
    """As `read_requests`, keeping every head that may be kept: the worst a listener could do."""
    reader = RequestReader(heads=memo)
    heard = Heard()
    try:
        for piece in stream:
            for one in reader.feed(piece):
                memo.keep(one, None)
                heard.requests.append(one)
    except SekishoError as error:
        heard.code = error.code
    if reader.problem is not None:
        heard.code = reader.problem.code
    return heard


SEGMENTS = st.lists(
    st.one_of(
        damaged(),
        st.sampled_from([stream for stream, _ in ACCEPTED.values()]),
        st.binary(max_size=4).map(lambda body: post(b"Content-Length: %d" % len(body), body=body)),
        st.sampled_from([post(b"Content-Length: 2"), post(b"Content-Length: 120"), b"{}", OK[:10], OK[10:]]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.threat("T-PARSER")
@given(st.lists(SEGMENTS, min_size=1, max_size=5))
def test_a_shared_memo_of_heads_changes_nothing_on_any_connection(connections: list[list[bytes]]) -> None:
    memo = HeadMemo()
    for stream in connections + connections:  # the second time every head that may be kept is known
        alone = read_requests(RequestReader(), stream)
        shared = _with_memo(memo, stream)
        assert shared.code == alone.code
        assert _plain(shared.requests) == _plain(alone.requests)


@given(st.lists(SEGMENTS, min_size=2, max_size=4), st.data())
def test_connections_that_take_turns_share_a_memo_without_harm(
    connections: list[list[bytes]], data: st.DataObject
) -> None:
    memo = HeadMemo(max_heads=2)
    readers = [RequestReader(heads=memo) for _ in connections]
    heard = [Heard() for _ in connections]
    left = [list(stream) for stream in connections]
    while any(left):
        turn = data.draw(st.sampled_from([index for index, stream in enumerate(left) if stream]))
        try:
            for one in readers[turn].feed(left[turn].pop(0)):
                memo.keep(one, None)
                heard[turn].requests.append(one)
        except SekishoError:
            left[turn].clear()
    for stream, reader, mine in zip(connections, readers, heard, strict=True):
        alone = read_requests(RequestReader(), stream)
        assert _plain(mine.requests) == _plain(alone.requests)
        assert (reader.problem.code if reader.problem else None) == alone.code


@pytest.mark.threat("T-PARSER")
def test_the_body_of_one_request_is_never_taken_for_a_known_head() -> None:
    memo = HeadMemo()
    inner = post(b"Content-Length: 2", body=b"{}")
    outer = post(b"X-Outer: 1", b"Content-Length: %d" % len(inner), body=inner)
    assert len(_with_memo(memo, [inner]).requests) == 1
    # the body arrives alone, in a segment that equals a request whose head is known
    heard = _with_memo(memo, [outer[: -len(inner)], inner])
    assert [one.body for one in heard.requests] == [inner]
    # the same bytes after a request that ended the connection are not a request
    last = post(b"Connection: close", b"Content-Length: 0")
    alone = read_requests(RequestReader(), [last, inner])
    assert _plain(_with_memo(memo, [last, inner]).requests) == _plain(alone.requests)


def test_a_memo_is_bounded() -> None:
    memo = HeadMemo(max_heads=3)
    for number in range(10):
        _with_memo(memo, [post(b"X: %d" % number, b"Content-Length: 0")])
    assert len(memo) == 3


# What a stranger can make us hold


ENDLESS = {
    "head": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: aaaaaaaaaaaaaaa\r\n"),
    "one header": (b"GET / HTTP/1.1\r\nX: ", b"aaaaaaaaaaaaaaaa"),
    "target": (b"GET /", b"aaaaaaaaaaaaaaaa"),
    "empty lines": (b"", b"\r\n"),
    "body": (post(b"Content-Length: 9000000"), b"aaaaaaaaaaaaaaaa"),
    "small chunks": (post(CHUNKED), b"1\r\na\r\n"),
    "extension": (post(CHUNKED) + b"1;", b"aaaaaaaaaaaaaaaa"),
    "chunk size": (post(CHUNKED), b"0000000000000000"),
    "pipelined": (b"", OK),
}


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_stream_holds_no_more_than_the_limits(name: str) -> None:
    start, piece = ENDLESS[name]
    limits = HttpLimits(max_head_bytes=8192, max_body_bytes=1 << 16)
    tracemalloc.start()
    try:
        reader = RequestReader(limits)
        reader.feed(start)
        for _ in range(20_000):
            reader.feed(piece)
    except SekishoError:
        pass  # most are refused on the way
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1 << 20
