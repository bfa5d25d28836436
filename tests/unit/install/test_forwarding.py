"""The operator's proxy is used for what the grant permits, and for nothing else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence

import pytest

from sekisho.egress import Target
from sekisho.errors import Misconfigured, Refused, Unavailable
from sekisho.install.forwarding import ForwardProxy, ProxiedOutlet, read_proxy
from sekisho.policy import Address, NetworkGrant

NETWORK = NetworkGrant(allowed_domains=("registry.example.com", "inside.example.com"), allowed_ports=(443,))
REGISTRY = Target(host="registry.example.com", port=443)


class Proxy:
    """A proxy on loopback that answers every CONNECT with one text, and then echoes."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n"
        self.heads: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer + b"first bytes of the host")
        await writer.drain()
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    held = Proxy()
    server = await asyncio.start_server(held.serve, "127.0.0.1", 0)
    held.port = server.sockets[0].getsockname()[1]
    async with server:
        yield held


def _outlet(proxy: Proxy, *, authorization: str | None = None) -> ProxiedOutlet:
    async def resolve(_host: str) -> Sequence[Address]:
        return []

    used = ForwardProxy(
        host="127.0.0.1", port=proxy.port, authorization=authorization, exempt=("inside.example.com",)
    )
    return ProxiedOutlet(NETWORK, used, resolve=resolve)


async def test_a_permitted_host_is_reached_through_the_proxy_and_its_first_bytes_are_not_lost(
    proxy: Proxy,
) -> None:
    sock = await _outlet(proxy, authorization="YTpi").open(REGISTRY)
    with sock:
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"first bytes of the host"
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT registry.example.com:443 HTTP/1.1\r\nHost: registry.example.com:443\r\n")
    assert b"Proxy-Authorization: Basic YTpi\r\n" in head


@pytest.mark.parametrize(
    "target", [Target(host="evil.example.com", port=443), Target(host="registry.example.com", port=22)]
)
async def test_the_proxy_is_not_asked_for_what_is_not_permitted(proxy: Proxy, target: Target) -> None:
    with pytest.raises(Refused):
        await _outlet(proxy).open(target)
    assert not proxy.heads


async def test_an_exempt_host_is_reached_directly_and_its_address_judged(proxy: Proxy) -> None:
    with pytest.raises(Refused, match="not public"):
        await _outlet(proxy).open(Target(host="inside.example.com", port=443))
    assert not proxy.heads


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"SSH-2.0\r\n\r\n", b"", b"x" * 20_000]
)
async def test_another_answer_of_the_proxy_is_a_host_that_cannot_be_reached(
    proxy: Proxy, answer: bytes
) -> None:
    proxy.answer = answer
    with pytest.raises(Unavailable):
        await _outlet(proxy).open(REGISTRY)


async def test_a_proxy_that_does_not_listen_is_a_host_that_cannot_be_reached() -> None:
    gone = Proxy()
    gone.port = 1
    with pytest.raises(Unavailable):
        await _outlet(gone).open(REGISTRY)


def test_the_proxy_is_read_from_the_environment_with_its_exemptions() -> None:
    environment = {
        "HTTPS_PROXY": "http://aki:p%40ss@proxy.example.com:3128",
        "NO_PROXY": "localhost, .corp.example.com,other.example",
    }
    found = read_proxy(environment)
    assert found == ForwardProxy(
        host="proxy.example.com",
        port=3128,
        authorization=base64.b64encode(b"aki:p@ss").decode(),
        exempt=("localhost", "corp.example.com", "other.example"),
    )
    assert "p@ss" not in repr(found)
    hosts = {
        host: found.is_for(host) for host in ("pypi.org", "a.corp.example.com", "localhost", "xother.example")
    }
    assert hosts == {
        "pypi.org": True,
        "a.corp.example.com": False,
        "localhost": False,
        "xother.example": True,
    }


def test_without_a_proxy_in_the_environment_there_is_none() -> None:
    assert read_proxy({"HTTP_PROXY": "http://proxy.example.com", "HTTPS_PROXY": ""}) is None


@pytest.mark.parametrize(
    "text", ["socks5://proxy.example.com:1080", "http://", "http://x:99999", "https://x:1"]
)
def test_a_proxy_that_cannot_be_used_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_proxy({"https_proxy": text})
    assert "x:" not in caught.value.message
