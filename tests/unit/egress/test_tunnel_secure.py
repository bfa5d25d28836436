"""Requests that came inside opened TLS are judged like plain ones, for another port."""

from __future__ import annotations

import pytest

from sekisho.egress.tunnel import Target, judge_origin_request
from sekisho.errors import Refused

API = Target(host="api.example.com", port=443)
ODD = Target(host="api.example.com", port=8443)


@pytest.mark.parametrize("host", ["api.example.com", "api.example.com:443", "API.example.com"])
def test_the_usual_port_is_that_of_tls(host: str) -> None:
    request = judge_origin_request(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), API, is_secure=True)
    assert b"\r\nhost: api.example.com\r\n" in request.head
    assert request.target == API


def test_another_port_is_named() -> None:
    head = b"GET / HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n"
    assert b"\r\nhost: api.example.com:8443\r\n" in judge_origin_request(head, ODD, is_secure=True).head


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize(
    "host", ["api.example.com:80", "evil.example.com", "api.example.com:8443", "10.0.0.1"]
)
def test_another_host_or_port_inside_is_refused(host: str) -> None:
    with pytest.raises(Refused):
        judge_origin_request(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), API, is_secure=True)


def test_what_is_not_inside_tls_never_goes_to_its_port() -> None:
    with pytest.raises(Refused, match="TLS only"):
        judge_origin_request(b"GET / HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", API)
