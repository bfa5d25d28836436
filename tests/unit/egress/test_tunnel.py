"""Heads are read one way only, and what goes out is our own writing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.tunnel import (
    MAX_HEAD_BYTES,
    Target,
    find_head,
    judge_origin_request,
    judge_proxy_request,
    refusal_bytes,
)
from sekisho.errors import Refused

API = Target(host="api.example.com", port=80)


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@pytest.mark.requirement("A3.2")
def test_connect_names_a_host_and_a_port() -> None:
    request = judge_proxy_request(head("CONNECT API.example.com:443 HTTP/1.1", "Host: api.example.com:443"))
    assert request.is_tunnel
    assert request.target == Target(host="api.example.com", port=443)


def test_a_tunnel_may_be_opened_the_old_way() -> None:
    request = judge_proxy_request(head("CONNECT api.example.com:443 HTTP/1.0"))
    assert (request.is_tunnel, request.target.port) == (True, 443)


def test_an_absolute_request_is_written_anew() -> None:
    request = judge_proxy_request(
        head(
            "POST http://API.example.com/a?b=c HTTP/1.1",
            "HOST: api.example.com",
            "Proxy-Authorization: Basic secret",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "Upgrade: websocket",
            "Content-Length: 5",
            "Accept: */*",
        )
    )
    assert request.target == API
    assert request.body_length == 5
    assert request.head == head(
        "POST /a?b=c HTTP/1.1",
        "host: api.example.com",
        "accept: */*",
        "content-length: 5",
    )
    assert (request.is_last, request.is_upgrade) == (False, False)


@pytest.mark.parametrize(
    ("url", "path"), [("http://a.b", "/"), ("HTTP://a.b?x=1", "/?x=1"), ("http://a.b/%2e", "/%2e")]
)
def test_the_path_goes_on_as_it_came(url: str, path: str) -> None:
    assert judge_proxy_request(head(f"GET {url} HTTP/1.1", "Host: a.b")).head.split(b" ")[1] == path.encode()


def test_a_port_other_than_80_stays_in_the_host_header() -> None:
    request = judge_proxy_request(head("GET http://a.b:8080/ HTTP/1.1", "Host: a.b:8080"))
    assert b"host: a.b:8080\r\n" in request.head


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "lines",
    [
        ("GET http://api.example.com/ HTTP/1.1", "Host: other.example.com"),
        ("GET http://api.example.com/ HTTP/1.1", "Host: api.example.com:8080"),
        ("GET http://api.example.com/ HTTP/1.1",),
        ("GET http://api.example.com/ HTTP/1.1", "Host: api.example.com", "Host: api.example.com"),
        ("GET http://user@api.example.com/ HTTP/1.1", "Host: api.example.com"),
        ("GET http://127.0.0.1/ HTTP/1.1", "Host: 127.0.0.1"),
        ("GET http://2130706433/ HTTP/1.1", "Host: 2130706433"),
        ("GET http://[::1]/ HTTP/1.1", "Host: [::1]"),
        ("GET http://api.example.com./ HTTP/1.1", "Host: api.example.com."),
        ("GET http://api.example.com:443/ HTTP/1.1", "Host: api.example.com:443"),
        ("GET http://api.example.com:0/ HTTP/1.1", "Host: api.example.com:0"),
        ("GET http://api.example.com:99999/ HTTP/1.1", "Host: api.example.com:99999"),
        ("GET https://api.example.com/ HTTP/1.1", "Host: api.example.com"),
        ("GET ftp://api.example.com/ HTTP/1.1", "Host: api.example.com"),
        ("GET / HTTP/1.1", "Host: api.example.com"),
        ("CONNECT api.example.com HTTP/1.1", "Host: api.example.com"),
        ("CONNECT api.example.com:443 HTTP/1.1", "Host: other.example.com:443"),
        ("CONNECT 169.254.169.254:443 HTTP/1.1", "Host: 169.254.169.254:443"),
        ("CONNECT 0x7f.1:443 HTTP/1.1", "Host: 0x7f.1:443"),
        ("CONNECT api.example.com\0.evil.example:443 HTTP/1.1", "Host: api.example.com"),
    ],
)
def test_what_does_not_name_one_plain_host_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        judge_proxy_request(head(*lines))


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "lines",
    [
        ("GET http://a.b/ HTTP/1.0", "Host: a.b"),
        ("GET  http://a.b/ HTTP/1.1", "Host: a.b"),
        ("GET http://a.b/ HTTP/1.1 ", "Host: a.b"),
        ("", "GET http://a.b/ HTTP/1.1", "Host: a.b"),
        ("GET http://a.b/ HTTP/1.1", "Host : a.b"),
        ("GET http://a.b/ HTTP/1.1", "Host: a.b", " folded: x"),
        ("GET http://a.b/ HTTP/1.1", "Host: a.b", "X: a\nTransfer-Encoding: chunked"),
        ("GET http://a.b/ HTTP/1.1", "Host: a.b", "X: a\rY: b"),
        ("GET http://a.b/ HTTP/1.1", "Host: a.b", "X: \0"),
        ("POST http://a.b/ HTTP/1.1", "Host: a.b", "Content-Length: 3", "Content-Length: 3"),
        ("POST http://a.b/ HTTP/1.1", "Host: a.b", "Content-Length: 3", "Transfer-Encoding: chunked"),
        ("POST http://a.b/ HTTP/1.1", "Host: a.b", "Content-Length: +3"),
        ("POST http://a.b/ HTTP/1.1", "Host: a.b", "Content-Length: 3, 3"),
        ("POST http://a.b/ HTTP/1.1", "Host: a.b", "Transfer-Encoding: gzip, chunked"),
        (
            "POST http://a.b/ HTTP/1.1",
            "Host: a.b",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: chunked",
        ),
    ],
)
def test_a_head_two_parsers_could_read_differently_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        judge_proxy_request(head(*lines))


def test_a_direct_request_names_a_path_and_the_known_host() -> None:
    request = judge_origin_request(head("GET /x HTTP/1.1", "Host: api.example.com"), API)
    assert request.head == head("GET /x HTTP/1.1", "host: api.example.com")
    assert request.method == b"GET"


@pytest.mark.parametrize(
    "lines",
    [
        ("GET /x HTTP/1.1", "Host: other.example.com"),
        ("GET http://api.example.com/x HTTP/1.1", "Host: api.example.com"),
        ("CONNECT api.example.com:80 HTTP/1.1", "Host: api.example.com"),
        ("OPTIONS * HTTP/1.1", "Host: api.example.com"),
    ],
)
def test_a_direct_request_to_another_host_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        judge_origin_request(head(*lines), API)


@pytest.mark.threat("T-FLOOD")
def test_a_head_is_bounded() -> None:
    assert find_head(b"GET ") is None
    assert find_head(b"GET / HTTP/1.1\r\n\r\nrest") == 18
    with pytest.raises(Refused):
        find_head(b"x" * MAX_HEAD_BYTES)


# With a try for each byte at each byte, which these cost once, a whole head of them takes minutes of this test's time.
@pytest.mark.threat("T-FLOOD")
@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "lines",
    [
        ("GET http://api.example.com/ HTTP/1.1", "Host: api.example.com", "X:" + " " * 30_000 + "\1"),
        ("GET http://api.example.com/ HTTP/1.1", "Host: api.example.com", "X:" + "\t " * 15_000 + "\1"),
        ("GET http://api.example.com/" + "?" * 30_000 + "# HTTP/1.1", "Host: api.example.com"),
        ("GET http://api.example.com" + "/?" * 15_000 + "# HTTP/1.1", "Host: api.example.com"),
    ],
)
def test_a_head_that_nearly_matches_costs_no_more_than_reading_it(lines: tuple[str, ...]) -> None:
    for _ in range(50):
        with pytest.raises(Refused):
            judge_proxy_request(head(*lines))


def test_many_blanks_before_a_value_and_many_questions_in_a_query_pass() -> None:
    asked = judge_proxy_request(
        head(
            "GET http://api.example.com/a" + "?" * 9_000 + " HTTP/1.1",
            "Host: api.example.com",
            "X:" + " \t" * 9_000 + "y",
        )
    )
    assert b"GET /a" + b"?" * 9_000 + b" HTTP/1.1" in asked.head
    assert b"x: y\r\n" in asked.head


def test_a_refusal_names_the_rule_in_one_line() -> None:
    answer = refusal_bytes("the host or port is not on the allow-list")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert answer.endswith(b"\r\n\r\nsekisho egress gate: the host or port is not on the allow-list\n")
    assert refusal_bytes("x", is_unreachable=True).startswith(b"HTTP/1.1 502 ")


@given(data=st.binary(max_size=200))
def test_random_bytes_are_judged_or_refused(data: bytes) -> None:
    try:
        judge_proxy_request(data + b"\r\n\r\n")
    except Refused:
        return
    pytest.fail("random bytes made a request")


WEBSOCKET = (
    "GET /chat HTTP/1.1",
    "Host: api.example.com",
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def test_the_opening_of_a_websocket_is_passed_on_in_our_own_words() -> None:
    request = judge_origin_request(head(*WEBSOCKET), API)
    assert request.is_upgrade
    assert request.head == head(
        "GET /chat HTTP/1.1",
        "host: api.example.com",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "connection: upgrade",
        "upgrade: websocket",
    )


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GET /chat", "POST /chat"),
        ("Upgrade: WebSocket", "Upgrade: h2c"),
        ("Upgrade: WebSocket", "Upgrade: websocket, h2c"),
        ("Upgrade: WebSocket", "Accept: */*"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("Version: 13", "Version: 12"),
        ("Sec-WebSocket-Key", "X-Key"),
        ("Host: api.example.com", "Host: api.example.com\r\nContent-Length: 3"),
        ("Host: api.example.com", "Host: api.example.com\r\nTransfer-Encoding: chunked"),
    ],
)
def test_no_other_upgrade_is_passed_on(old: str, new: str) -> None:
    request = judge_origin_request(head(*(line.replace(old, new) for line in WEBSOCKET)), API)
    assert not request.is_upgrade
    assert b"upgrade" not in request.head.lower()


@pytest.mark.parametrize("line", ["Connection: close", "Connection: x, Close", "Proxy-Connection: close"])
def test_a_client_that_wants_no_other_request_is_heard(line: str) -> None:
    request = judge_origin_request(head("GET / HTTP/1.1", "Host: api.example.com", line), API)
    assert request.is_last
    assert request.head.endswith(b"\r\nconnection: close\r\n\r\n")


def test_http2_without_asking_is_told_what_is_spoken() -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\n"
    for judge in (judge_proxy_request, lambda head: judge_origin_request(head, API, is_secure=True)):
        with pytest.raises(Refused, match="HTTP/2 is not spoken here"):
            judge(preface)
