"""HTTP/1.1 requests: syntax, limits, and every known way to smuggle one request inside another."""

from __future__ import annotations

import contextlib
import re
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import HttpLimits, HttpRequest, RequestReader

SMALL = HttpLimits(max_head_bytes=1000, max_body_bytes=100)
HEAD = b"POST /mcp HTTP/1.1\r\nHost: h\r\n"


def read(*pieces: bytes, limits: HttpLimits | None = None) -> list[HttpRequest]:
    reader = RequestReader(limits)
    found = [request for piece in pieces for request in reader.feed(piece)]
    if reader.problem is not None:
        raise reader.problem
    return found


def code_of(*pieces: bytes, limits: HttpLimits | None = None) -> str:
    with pytest.raises(SekishoError) as caught:
        read(*pieces, limits=limits)
    return caught.value.code


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def test_a_request_is_read_whole() -> None:
    (request,) = read(post(b"Content-Type: application/json", b"Content-Length: 2", body=b"{}"))
    assert request == HttpRequest(
        method="POST",
        target="/mcp",
        headers={"host": "h", "content-type": "application/json", "content-length": "2"},
        body=b"{}",
        keep_alive=True,
        head=post(b"Content-Type: application/json", b"Content-Length: 2"),
    )


def test_blanks_around_values_are_stripped_and_names_lowered() -> None:
    (request,) = read(post(b"X-One: \t a b \t ", b"X-EMPTY:", b"x-latin: \xe9"))
    assert request.headers == {"host": "h", "x-one": "a b", "x-empty": "", "x-latin": "é"}


def test_harmless_headers_may_repeat() -> None:
    (request,) = read(post(b"Accept: a", b"accept: b"))
    assert request.headers["accept"] == "a, b"


def test_pipelined_requests_come_in_order() -> None:
    one, two = post(b"Content-Length: 1", body=b"1"), post(b"Content-Length: 1", body=b"2")
    assert [request.body for request in read(one + two + one)] == [b"1", b"2", b"1"]


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.lists(st.integers(0, 400)), st.booleans())
def test_the_pieces_in_which_requests_arrive_change_nothing(
    bodies: list[bytes], cuts: list[int], chunked: bool
) -> None:
    stream = b"".join(
        post(b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        if chunked and body
        else post(b"Content-Length: %d" % len(body), body=body)
        for body in bodies
    )
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    found = read(*(stream[start:end] for start, end in pairwise(edges)))
    assert [request.body for request in found] == bodies


def test_byte_by_byte_is_the_same() -> None:
    stream = post(b"Content-Length: 3", body=b"abc") * 2
    assert len(read(*(stream[i : i + 1] for i in range(len(stream))))) == 2


def test_a_request_in_progress_is_seen_by_the_slow_loris_timer() -> None:
    reader = RequestReader()
    seen = [reader.in_request]
    for piece in (b"P", post(b"Content-Length: 2")[1:] + b"{", b"}"):
        reader.feed(piece)
        seen.append(reader.in_request)
    assert seen == [False, True, True, False]


def test_keep_alive_follows_the_version_and_the_connection_header() -> None:
    assert read(post())[0].keep_alive
    assert not read(post(b"Connection: close"))[0].keep_alive
    assert not read(b"GET / HTTP/1.0\r\n\r\n")[0].keep_alive


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 3", b"Content-Length: 3"),
        (b"Content-Length: 3", b"Content-Length: 4"),
        (b"Content-Length: 3, 3",),
        (b"Content-Length: +3",),
        (b"Content-Length: -3",),
        (b"Content-Length: 0x3",),
        (b"Content-Length: 3 4",),
        (b"Content-Length:",),
        (b"Content-Length: 99999999999999999999",),
        (b"Content-Length : 3",),
        (b" Content-Length: 3",),
        (b"Content\tLength: 3",),
        (b"Content-Length\x00: 3",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Transfer-Encoding : chunked",),
        (b"X: a\r\n folded: b",),
        (b"X: a\r\n\tTransfer-Encoding: chunked",),
        (b"X: a\nContent-Length: 3",),
        (b"X: a\rContent-Length: 3",),
        (b"X: a\x00b",),
        (b"X: a\x01b",),
        (b"X: a\x7fb",),
        (b": x",),
        (b"X",),
        (b"X\xe9: a",),
        (b"X(a): b",),
    ],
)
def test_a_request_with_two_readings_is_refused(lines: tuple[bytes, ...]) -> None:
    assert code_of(post(*lines, body=b"abc")) == "http_malformed"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Authorization",
        b"Origin",
        b"Content-Type",
        b"Mcp-Session-Id",
        b"MCP-Protocol-Version",
        b"Mcp-Method",
        b"Mcp-Name",
        b"Mcp-Param-X",
        b"Content-Encoding",
        b"Expect",
    ],
)
def test_a_header_that_decides_something_appears_once(name: bytes) -> None:
    assert code_of(post(name + b": a", name.lower() + b": a")) == "http_malformed"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost: h\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        b"GET / http/1.1\r\nHost: h\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /#x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"{}",
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_what_is_not_strict_http_is_refused(stream: bytes) -> None:
    assert code_of(stream) == "http_malformed"


def test_chunks_are_joined() -> None:
    chunked = post(b"Transfer-Encoding: Chunked", body=b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
    assert [request.body for request in read(chunked * 2)] == [b"abc0123456789"] * 2


def test_chunk_extensions_mean_nothing() -> None:
    assert read(post(b"Transfer-Encoding: chunked", body=b"3;a=b;c\r\nabc\r\n0;x\r\n\r\n"))[0].body == b"abc"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r\n0\n\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nabc",
        b"3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_malformed_chunks_and_trailers_are_refused(body: bytes) -> None:
    assert code_of(post(b"Transfer-Encoding: chunked", body=body)) == "http_malformed"


@pytest.mark.threat("T-FLOOD")
def test_a_body_is_refused_when_its_length_is_announced() -> None:
    assert len(read(post(b"Content-Length: 100", body=b"x" * 100), limits=SMALL)) == 1
    assert code_of(post(b"Content-Length: 101"), limits=SMALL) == "body_too_large"


@pytest.mark.threat("T-FLOOD")
def test_a_chunked_body_is_refused_when_it_grows_too_large() -> None:
    chunk = b"32\r\n" + b"x" * 50 + b"\r\n"
    head = post(b"Transfer-Encoding: chunked")
    assert len(read(head, chunk, chunk, b"0\r\n\r\n", limits=SMALL)) == 1
    assert code_of(head, chunk, chunk, b"1\r\nx", limits=SMALL) == "body_too_large"


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("padding", [b"a" * 1000, b"0\r\nX: " + b"a" * 1000])
def test_endless_chunk_extensions_and_trailers_are_refused(padding: bytes) -> None:
    head = post(b"Transfer-Encoding: chunked", body=b"1;" if padding.startswith(b"a") else b"")
    assert code_of(head, padding, *[b"a" * 1000] * 70) == "http_malformed"


@pytest.mark.threat("T-FLOOD")
def test_a_body_of_one_byte_chunks_is_still_read() -> None:
    pieces = [b"1\r\nx\r\n" * 1000] * 30
    (request,) = read(post(b"Transfer-Encoding: chunked"), *pieces, b"0\r\n\r\n")
    assert request.body == b"x" * 30_000


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("piece", [b"GET /" + b"a" * 300, HEAD + b"X: " + b"a" * 300, HEAD + b"X" * 300])
def test_an_unfinished_head_is_refused_while_it_grows(piece: bytes) -> None:
    assert code_of(piece, *[b"a" * 100] * 10, limits=SMALL) == "header_too_large"


@pytest.mark.threat("T-FLOOD")
def test_a_finished_head_that_is_too_large_is_refused() -> None:
    assert len(read(post(b"X: " + b"a" * 900), limits=SMALL)) == 1
    assert code_of(post(b"X: " + b"a" * 1000), limits=SMALL) == "header_too_large"
    assert (
        code_of(b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", limits=SMALL) == "header_too_large"
    )


@pytest.mark.threat("T-FLOOD")
def test_countless_headers_are_refused() -> None:
    assert len(read(post(*[b"a: b"] * 99))) == 1
    assert code_of(post(*[b"a: b"] * 100)) == "header_too_large"


def test_a_large_body_before_a_small_head_is_not_counted_against_it() -> None:
    body = post(b"Content-Length: 100", body=b"x" * 100)
    assert len(read(body * 20 + HEAD, b"\r\n" + body * 20, limits=SMALL)) == 41


def test_after_an_error_nothing_more_is_read() -> None:
    reader = RequestReader()
    for stream in (b"nonsense\r\n\r\n", post()):
        with pytest.raises(SekishoError):
            reader.feed(stream)


def test_an_offered_upgrade_is_ignored_and_the_body_still_belongs_to_the_request() -> None:
    offer = post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc")
    found = read(offer + post() + offer)
    assert [(request.method, request.body) for request in found] == [
        ("POST", b"abc"),
        ("POST", b""),
        ("POST", b"abc"),
    ]
    assert len(read(*(offer[i : i + 1] for i in range(len(offer))))) == 1


@pytest.mark.threat("T-PARSER")
def test_an_upgrade_cannot_hide_a_request_in_a_body() -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    offer = post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: %d" % len(hidden), body=hidden)
    assert [request.target for request in read(offer)] == ["/mcp"]
    chunked = post(
        b"Connection: Upgrade",
        b"Upgrade: x",
        b"Transfer-Encoding: chunked",
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden),
    )
    assert [(request.target, request.body) for request in read(chunked)] == [("/mcp", hidden)]


def test_a_client_that_waits_for_continue_is_seen() -> None:
    reader = RequestReader()
    seen = []
    for piece in (post(b"Expect: 100-continue", b"Content-Length: 2"), b"{", b"}"):
        reader.feed(piece)
        seen.append(reader.wants_continue)
    assert seen == [True, False, False]
    assert code_of(post(b"Expect: something")) == "http_malformed"


@given(st.binary(max_size=200))
@pytest.mark.threat("T-PARSER")
def test_any_bytes_are_requests_or_a_refusal(data: bytes) -> None:
    try:
        read(data)
    except SekishoError as error:
        assert error.info.http_status in {400, 413, 431}  # noqa: PT017 - it may also be accepted


tokens = st.sampled_from(
    [
        b"Content-Length: 3",
        b"Content-Length: 5",
        b"Content-Length: 03",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding:  chunked ",
        b"X: y",
        b"X:",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Expect: x",
        b"Content-length:3",
        b" Folded: x",
        b"Bad : x",
        b"Host: other",
        b"Accept: \t*/*",
    ]
)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n"])
bodies = st.sampled_from(
    [b"", b"abc", b"abcde", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"]
)


@given(st.lists(st.tuples(tokens, ends), max_size=4), bodies)
@pytest.mark.threat("T-PARSER")
def test_a_request_we_accept_is_the_request_another_parser_sees(
    lines: list[tuple[bytes, bytes]], body: bytes
) -> None:
    stream = HEAD + b"".join(line + end for line, end in lines) + b"\r\n" + body
    reader = RequestReader()
    try:
        found = reader.feed(stream)
    except SekishoError:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(stream)
    event = other.next_event()
    if event is h11.NEED_DATA:
        assert not found
        return
    assert isinstance(event, h11.Request)
    seen = b""
    while isinstance(event := other.next_event(), h11.Data):
        seen += bytes(event.data)
    if event is h11.NEED_DATA:
        assert not found
        return
    assert isinstance(event, h11.EndOfMessage)
    assert found[0].body == seen


@given(st.integers(0, 10_000), st.integers(0, 7))
@pytest.mark.threat("T-PARSER")
def test_after_one_flipped_bit_the_body_is_the_same_or_the_message_differs_visibly(
    place: int, bit: int
) -> None:
    body = b'{"jsonrpc":"2.0"}'
    sent = post(b"Content-Type: application/json", b"Content-Length: %d" % len(body), body=body)
    stream = bytearray(sent)
    stream[place % len(stream)] ^= 1 << bit
    original = read(sent)
    try:
        found = read(bytes(stream))
    except SekishoError:
        return
    # The case of a header name is the only bit without a meaning.
    assert found != original or stream.lower() == sent.lower()


def test_whole_requests_before_a_malformed_one_are_given_whatever_the_pieces() -> None:
    stream = post(b"Content-Length: 2", body=b"{}") + b"no http\r\n\r\n"
    for cut in range(len(stream) + 1):
        reader = RequestReader()
        seen: list[HttpRequest] = []
        for piece in (stream[:cut], stream[cut:]):
            try:
                seen += reader.feed(piece)
            except SekishoError:
                break
        assert [one.body for one in seen] == [b"{}"]
        assert reader.problem is not None
        assert not reader.is_idle


@pytest.mark.threat("T-FLOOD")
def test_chunk_extensions_are_bounded_even_in_one_piece() -> None:
    body = b"1;" + b"x" * 300_000 + b"\r\na\r\n0\r\n\r\n"
    assert code_of(post(b"Transfer-Encoding: chunked", body=body)) in {"http_malformed", "header_too_large"}
    assert read(post(b"Transfer-Encoding: chunked", body=b"1;x\r\na\r\n0\r\n\r\n"))[0].body == b"a"


def test_an_old_client_is_known_not_to_read_chunks() -> None:
    assert read(post())[0].speaks_chunks
    assert not read(b"POST /mcp HTTP/1.0\r\nContent-Length: 0\r\n\r\n")[0].speaks_chunks


@pytest.mark.threat("T-FLOOD")
def test_the_number_of_headers_is_a_limit() -> None:
    limits = HttpLimits(max_headers=3)
    assert read(post(b"A: 1", b"B: 2"), limits=limits)
    assert code_of(post(b"A: 1", b"B: 2", b"C: 3"), limits=limits) == "header_too_large"


@given(st.data())
@pytest.mark.threat("T-PARSER")
def test_loose_line_ends_are_found_in_any_pieces(data: st.DataObject) -> None:
    text = data.draw(st.lists(st.sampled_from([b"X: y", b"\r\n", b"\n", b"\r", b"\x00", b"a"]), max_size=10))
    stream = HEAD + b"".join(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[low:high] for low, high in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    is_loose = re.search(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00", stream.partition(b"\r\n\r\n")[0]) is not None
    try:
        read(*pieces)
    except SekishoError:
        assert is_loose or b"\r\n\r\n" in stream
    else:
        assert not is_loose


@pytest.mark.threat("T-FLOOD")
def test_requests_that_came_together_are_read_a_few_at_a_time() -> None:
    reader = RequestReader(most=3)
    assert len(reader.feed(post() * 3)) == 3
    assert not reader.has_rest
    assert len(reader.feed(post() * 7)) == 3
    assert (reader.has_rest, reader.is_idle, reader.in_request) == (True, False, False)
    assert reader.held_bytes >= 4 * len(post())
    assert [len(reader.feed(b"")) for _ in range(3)] == [3, 1, 0]
    assert (reader.has_rest, reader.is_idle, reader.held_bytes) == (False, True, 0)


@given(data=st.data())
def test_how_many_are_read_at_a_time_changes_nothing(data: st.DataObject) -> None:
    bodies = data.draw(st.lists(st.binary(max_size=30), max_size=8))
    end = data.draw(st.sampled_from((b"", b"POST /m", b"no http\r\n\r\n")))
    posts = [post(b"Content-Length: %d" % len(body), body=body) for body in bodies]
    stream = b"".join(posts) + end
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[low:high] for low, high in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader = RequestReader(most=data.draw(st.integers(1, 3)))
    found: list[HttpRequest] = []
    with contextlib.suppress(SekishoError):
        for piece in pieces:
            found += reader.feed(piece)
            while reader.has_rest and data.draw(st.booleans()):
                found += reader.feed(b"")
        while reader.has_rest:
            found += reader.feed(b"")
    assert [one.body for one in found] == bodies
    assert (reader.problem is not None) == (end[:2] == b"no")
