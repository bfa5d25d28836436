"""HTTP/1.1 messages into bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import LocalProtocolError
from sekisho.protocol import RequestReader, ResponseReader, collect, request_head_bytes, response_bytes

names = st.from_regex(r"X-[A-Za-z0-9-]{1,12}", fullmatch=True)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@given(
    st.sampled_from([200, 202, 400, 404, 503]), st.binary(max_size=100), st.dictionaries(names, header_values)
)
def test_a_written_response_is_read_back(status: int, body: bytes, headers: dict[str, str]) -> None:
    headers = {name.lower(): value.strip() for name, value in headers.items()}
    response = collect(ResponseReader().feed(response_bytes(status, body, headers=headers.items())))
    assert (response.status, response.body, response.keep_alive) == (status, body, True)
    assert headers.items() <= response.headers.items()


@given(st.binary(max_size=100), st.dictionaries(names, header_values))
def test_a_written_request_is_read_back(body: bytes, headers: dict[str, str]) -> None:
    headers = {name.lower(): value.strip() for name, value in headers.items()}
    head = request_head_bytes("POST", "/mcp?x=1", "localhost:8080", headers.items(), len(body))
    (request,) = RequestReader().feed(head + body)
    assert (request.method, request.target, request.body) == ("POST", "/mcp?x=1", body)
    assert request.headers["host"] == "localhost:8080"
    assert headers.items() <= request.headers.items()


def test_a_response_says_its_length_type_and_end() -> None:
    assert response_bytes(200, b"{}", close=True) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    assert response_bytes(202, b"") == b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    assert response_bytes(204, b"") == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert b"Content-Type: text/plain\r\n" in response_bytes(200, b"x", content_type="text/plain")


def test_a_request_without_body_states_no_length_unless_one_is_expected() -> None:
    assert b"Content-Length" not in request_head_bytes("GET", "/", "h", (), 0)
    assert b"Content-Length: 0\r\n" in request_head_bytes("POST", "/", "h", (), 0)


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "\0"),
        ("X", "é"),
        ("X Y", "a"),
        ("", "a"),
        ("X:", "a"),
        ("X\r\nY", "a"),
    ],
)
def test_a_header_that_would_tear_the_message_is_a_bug_of_ours(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError):
        response_bytes(200, b"", headers=((name, value),))
    with pytest.raises(LocalProtocolError):
        request_head_bytes("GET", "/", "h", ((name, value),), 0)


@pytest.mark.threat("T-PARSER")
def test_a_content_type_that_would_tear_the_message_is_a_bug_of_ours() -> None:
    with pytest.raises(LocalProtocolError):
        response_bytes(200, b"x", content_type="a/b\r\nX: y")


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        ("GET X", "/", "h"),
        ("GET", "/ HTTP/1.1\r\nX: y", "h"),
        ("GET", "", "h"),
        ("GET", "/", "h\r\nX: y"),
        ("GET", "/é", "h"),
        ("", "/", "h"),
    ],
)
def test_a_request_line_that_would_tear_is_a_bug_of_ours(method: str, target: str, host: str) -> None:
    with pytest.raises(LocalProtocolError):
        request_head_bytes(method, target, host, (), 0)
