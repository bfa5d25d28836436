"""Where a plugin at a URL lives."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured, Refused, RemoteProtocolError, SekishoError
from sekisho.plugin_server.site import Doorway, Site, trusting

SITE = Site.parse("https://mcp.example.org/api/sse?k=v")


def test_a_url_is_read_into_what_a_request_needs() -> None:
    assert (SITE.host, SITE.port, SITE.authority, SITE.target) == (
        "mcp.example.org",
        443,
        "mcp.example.org",
        "/api/sse?k=v",
    )
    assert SITE.url == "https://mcp.example.org/api/sse?k=v"
    assert Site.parse("http://[::1]:81").target == "/"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http://",
        "http://user@x/",
        "http://x/#y",
        "/mcp",
        "http://x:0/",
        "http://x:99999/",
        "http://[::1",
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Site.parse(url)
    assert caught.value.code == "config_invalid"


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("/messages?id=7", "/messages?id=7"),
        ("messages", "/api/messages"),
        ("https://mcp.example.org/m", "/m"),
        ("https://mcp.example.org:443/m", "/m"),
        ("https://MCP.example.org/m", "/m"),
    ],
)
def test_an_endpoint_of_the_same_origin_is_taken(reference: str, target: str) -> None:
    assert SITE.at(reference).target == target


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example.org/m",
        "//evil.example.org/m",
        "http://mcp.example.org/m",
        "https://mcp.example.org:444/m",
        "https://mcp.example.org@evil.example.org/m",
        "https://mcp.example.org.evil.example.org/m",
        "\\\\evil.example.org/m",
        "https:\\\\evil.example.org/m",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "/m\r\nX: y",
        "/m#x",
        "https://mcp.example.org:x/m",
        "http://[",
        "/" + "x" * 5000,
        "/é",
    ],
)
def test_an_endpoint_of_another_origin_is_refused(reference: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        SITE.at(reference)
    assert caught.value.code == "plugin_protocol"


@pytest.mark.threat("T-EGRESS")
@given(st.text(max_size=40))
def test_whatever_a_server_names_stays_with_it_or_is_refused(reference: str) -> None:
    try:
        there = SITE.at(reference)
    except RemoteProtocolError:
        return
    assert (there.scheme, there.host, there.port) == ("https", "mcp.example.org", 443)


async def _try(doorway: Doorway) -> str:
    try:
        (await doorway.open()).close()
    except SekishoError as error:
        return error.code
    except OSError:
        return "refused by the host"
    finally:
        doorway.close()
    return "opened"


async def _listening() -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


@pytest.mark.threat("T-EGRESS")
async def test_a_name_that_leads_to_this_machine_is_refused_unless_the_operator_says_so() -> None:
    async def rebound(host: str) -> list[IPv4Address]:
        assert host == "rebound.example.org"
        return [IPv4Address("127.0.0.1")]

    server, port = await _listening()
    site = Site.parse(f"http://rebound.example.org:{port}/")
    assert await _try(Doorway(site, resolve=rebound)) == "egress_refused"
    assert await _try(Doorway(site, may_be_private=True, resolve=rebound)) == "opened"
    server.close()


async def test_an_address_that_the_operator_wrote_is_dialled() -> None:
    server, port = await _listening()
    for host in ("127.0.0.1", "localhost"):
        assert await _try(Doorway(Site.parse(f"http://{host}:{port}/"))) == "opened"
    server.close()
    await server.wait_closed()
    assert await _try(Doorway(Site.parse(f"http://127.0.0.1:{port}/"))) == "refused by the host"


def test_a_host_that_is_no_name_is_refused() -> None:
    with pytest.raises((Refused, Misconfigured)):
        Doorway(Site.parse("http://2130706433/"))


def test_tls_is_new_enough_and_checks_the_host(tmp_path: Path) -> None:
    context = trusting(None)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    (tmp_path / "no.pem").write_text("no")
    for path in (tmp_path / "no.pem", tmp_path / "absent.pem"):
        with pytest.raises(Misconfigured) as caught:
            trusting(path)
        assert caught.value.code == "key_unavailable"
