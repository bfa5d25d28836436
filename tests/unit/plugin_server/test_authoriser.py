"""Headers that an operator chose."""

from __future__ import annotations

import pytest

from sekisho.errors import LocalProtocolError, Misconfigured
from sekisho.plugin_server.authoriser import StaticHeaders


async def test_chosen_headers_are_sent_with_every_request_and_never_change() -> None:
    headers = StaticHeaders({"Authorization": "Bearer x", "X-Api-Key": "k"})
    await headers.prepare()
    assert list(headers.headers("POST", "http://x/")) == [("Authorization", "Bearer x"), ("X-Api-Key", "k")]
    assert headers.headers("POST", "http://x/") is headers.headers("GET", "http://y/")
    assert not await headers.refused(401, "Bearer")
    assert list(StaticHeaders().headers("POST", "http://x/")) == []


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Mcp-Session-Id", "MCP-Method", "Transfer-Encoding"]
)
def test_a_header_of_the_transport_cannot_be_chosen(name: str) -> None:
    with pytest.raises(Misconfigured):
        StaticHeaders({name: "x"})


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("name", "value"), [("X-A", "x\r\nX-B: y"), ("X A", "x"), ("X-A", ""), ("X-A", " x"), ("X-A", "é")]
)
def test_a_header_that_would_tear_the_head_apart_is_refused(name: str, value: str) -> None:
    with pytest.raises((Misconfigured, LocalProtocolError)):
        StaticHeaders({name: value})
