from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credentials.addresses import checked_url, covers, inserted, is_loopback_host
from sekisho.errors import Refused


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example.com/token",
        "http://10.0.0.1/token",
        "http://localhost.example.com/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://user:word@auth.example.com/",
        "https://auth.example.com/#fragment",
        "https://auth.example.com\\@evil.example/",
        "https:///token",
        "https://auth.example.com:0/",
        "https://auth.example.com:99999/",
        "https://auth.example.com/a b",
        "https://auth.example.com/\r\nX: y",
        "",
        "https://a.example/" + "x" * 3000,
    ],
)
def test_what_must_not_be_asked_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        checked_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example.com/token?tenant=a",
        "http://127.0.0.1:8000/token",
        "http://localhost/x",
        "http://[::1]/x",
    ],
)
def test_https_and_loopback_may_be_asked(url: str) -> None:
    assert checked_url(url).hostname


@pytest.mark.parametrize(
    ("resource", "url", "is_covered"),
    [
        ("https://a.example/mcp", "https://a.example/mcp", True),
        ("https://a.example", "https://a.example/mcp", True),
        ("https://a.example/", "https://a.example:443/mcp", True),
        ("https://a.example/mcp", "https://a.example/mcp/messages?session=1", True),
        ("https://a.example/mcp", "https://a.example/mcpx", False),
        ("https://a.example/mcp", "https://a.example/", False),
        ("https://a.example/mcp", "https://a.example/mcp/../admin", False),
        ("https://a.example/mcp", "https://b.example/mcp", False),
        ("https://a.example/mcp", "https://a.example:8443/mcp", False),
        ("https://a.example/mcp", "http://a.example/mcp", False),
        ("https://a.example/mcp?x=1", "https://a.example/mcp", False),
    ],
)
def test_a_resource_covers_its_own_paths_only(resource: str, url: str, *, is_covered: bool) -> None:
    assert covers(resource, url) is is_covered


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_judged_without_a_fault(resource: str, url: str) -> None:
    assert covers("https://" + resource, "https://" + url) in (True, False)


def test_only_literal_addresses_and_localhost_are_loopback() -> None:
    assert is_loopback_host("127.8.9.1")
    assert is_loopback_host("::1")
    assert not is_loopback_host("localhost.evil.example")
    assert not is_loopback_host("192.168.0.1")


def test_a_well_known_name_stands_between_origin_and_path() -> None:
    parts = checked_url("https://a.example:8443/tenant/one/")
    assert inserted(parts, "x", with_path=True) == "https://a.example:8443/.well-known/x/tenant/one"
    assert inserted(parts, "x", with_path=False) == "https://a.example:8443/.well-known/x"
