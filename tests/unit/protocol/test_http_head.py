"""The head of a request: one grammar, nothing open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import HttpLimits
from sekisho.protocol.http_head import parse_head
from sekisho.protocol.http_values import Head

names = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {"content-length", "transfer-encoding", "connection", "expect", "host"}
)
contents = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12
).filter(lambda text: all(ord(char) < 0x7F or ord(char) >= 0x80 for char in text))


def head(*lines: str, first: str = "POST /mcp HTTP/1.1") -> bytes:
    return "\r\n".join((first, "Host: h", *lines, "", "")).encode("latin-1")


def code_of(data: bytes) -> str:
    with pytest.raises(SekishoError) as caught:
        parse_head(data, HttpLimits())
    return caught.value.code


@given(st.lists(st.tuples(names, contents), max_size=6, unique_by=lambda pair: pair[0].lower()))
def test_every_header_is_read_as_it_stands(pairs: list[tuple[str, str]]) -> None:
    seen = parse_head(head(*(f"{name}: {value} \t" for name, value in pairs)), HttpLimits())
    assert {name.lower(): value for name, value in pairs} == {
        name: value for name, value in seen.headers.items() if name != "host"
    }


def test_a_head_says_method_target_and_length() -> None:
    assert parse_head(head("Content-Length: 7"), HttpLimits()) == Head(
        method="POST",
        target="/mcp",
        headers={"host": "h", "content-length": "7"},
        keep_alive=True,
        is_old=False,
        length=7,
    )
    assert parse_head(head("Transfer-Encoding: Chunked"), HttpLimits()).length is None
    assert parse_head(head(), HttpLimits()).length == 0


@pytest.mark.parametrize(
    ("first", "lines", "keeps"),
    [
        ("GET / HTTP/1.1", (), True),
        ("GET / HTTP/1.1", ("Connection: Close",), False),
        ("GET / HTTP/1.1", ("Connection: keep-alive, close",), False),
        ("GET / HTTP/1.1", ("Connection: keep-alive", "Connection: close"), False),
        ("GET / HTTP/1.0", (), False),
        ("GET / HTTP/1.0", ("Connection: Keep-Alive",), True),
    ],
)
def test_whether_the_connection_goes_on(first: str, lines: tuple[str, ...], keeps: bool) -> None:
    assert parse_head(head(*lines, first=first), HttpLimits()).keep_alive is keeps


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "data",
    [
        head(first="POST  /mcp HTTP/1.1"),
        head(first="POST /mcp HTTP/1.1 "),
        head(first="POST /mcp HTTP/2.0"),
        head(first="POST /mcp RTSP/1.0"),
        head(first="post /mcp HTTP/1.1"),
        head(first="POST http://h/mcp HTTP/1.1"),
        head(first="POST /a#b HTTP/1.1"),
        head(first="CONNECT h:1 HTTP/1.1"),
        head("X : 1"),
        head(" folded"),
        head("X: a\x00b"),
        head("X: a\rb"),
        head("X: a\nY: b"),
        head(": nameless"),
        head("Content-Length: 1", "Content-Length: 1"),
        head("Content-Length: 1, 1"),
        head("Content-Length: +1"),
        head("Content-Length: 0x1"),
        head("Content-Length: 1" + "0" * 30),
        head("Content-Length: 1", "Transfer-Encoding: chunked"),
        head("Transfer-Encoding: gzip, chunked"),
        head("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        head("Transfer-Encoding: chunked", first="POST / HTTP/1.0"),
        head("Host: other"),
        head("Expect: cookies"),
        head("Mcp-Name: a", "MCP-Name: b"),
        b"POST /mcp HTTP/1.1\r\nX: no host\r\n\r\n",
        head() + b"x",
        b"",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    assert code_of(data) == "http_malformed"


@pytest.mark.threat("T-PARSER")
@given(st.binary(max_size=120))
def test_any_bytes_are_a_head_or_a_refusal(data: bytes) -> None:
    try:
        parse_head(data, HttpLimits())
    except SekishoError:
        return
