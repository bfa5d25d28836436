"""One connection on each road, between two socket pairs: what goes out, what comes back, what is reported."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from sekisho.egress.event import EgressEvent
from sekisho.egress.hello import ALERT_ACCESS_DENIED
from sekisho.egress.outlet import Outlet
from sekisho.egress.proxy import Journey
from sekisho.egress.stream import Stream
from sekisho.egress.tunnel import Target
from sekisho.policy import Address, NetworkGrant, is_public

NETWORK = NetworkGrant(allowed_domains=("api.example.com",), allow_localhost=True, localhost_ports=(5432,))
API = Target(host="api.example.com", port=443)
CONNECT = b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
GET = b"GET http://api.example.com/a HTTP/1.1\r\nHost: api.example.com\r\n\r\n"


def greeting(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


class Scene:
    """The plugin's end of the connection, the host's end of the one that is opened for it, and the events."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [ip_address(text) for text in addresses]
        self._plugin, near = socket.socketpair()
        self._far, self._host = socket.socketpair()
        for sock in (self._plugin, near, self._far, self._host):
            sock.setblocking(False)
        self.near = near
        self.dialled: list[tuple[str, int]] = []
        self.events: list[EgressEvent] = []
        outlet = Outlet(NETWORK, resolve=self._resolve, dial=self._dial, is_allowed_address=is_public)
        self.journey = Journey(plugin="a", client=Stream(near), outlet=outlet, on_event=self.events.append)

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._plugin, data)

    async def hear(self, count: int | None = None) -> bytes:
        """What the plugin receives: so many bytes, or everything to the end."""
        return await _receive(self._plugin, count)

    async def host_says(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._host, data)
        self._host.shutdown(socket.SHUT_WR)

    async def host_keeps(self, data: bytes) -> None:
        """Say something and stay."""
        await asyncio.get_running_loop().sock_sendall(self._host, data)

    async def host_hears(self, count: int | None = None) -> bytes:
        return await _receive(self._host, count)

    def leave(self) -> None:
        self._plugin.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for sock in (self._plugin, self.near, self._far, self._host):
            sock.close()

    @property
    def event(self) -> EgressEvent:
        assert len(self.events) == 1
        return self.events[0]

    async def _resolve(self, _host: str) -> Sequence[Address]:
        return self._addresses

    async def _dial(self, address: Address, port: int) -> socket.socket:
        self.dialled.append((str(address), port))
        return self._far


async def _receive(sock: socket.socket, count: int | None) -> bytes:
    loop, got = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while count is None or len(got) < count:
            data = await loop.sock_recv(sock, 1 << 16 if count is None else count - len(got))
            if not data:
                break
            got += data
    return got


Road = Callable[[Journey], Coroutine[Any, Any, None]]


@asynccontextmanager
async def served(road: Road, addresses: Sequence[str] = ("93.184.216.34",)) -> AsyncIterator[Scene]:
    scene = Scene(addresses)

    async def serve() -> None:
        with scene.near:
            await road(scene.journey)

    try:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(serve())
            yield scene
    finally:
        scene.close()


def proxy(journey: Journey) -> Coroutine[Any, Any, None]:
    return journey.serve_proxy()


def tls(journey: Journey) -> Coroutine[Any, Any, None]:
    return journey.serve_tls(API)


def http(journey: Journey) -> Coroutine[Any, Any, None]:
    return journey.serve_http(Target(host="api.example.com", port=80))


@pytest.mark.requirement("A3.3")
async def test_a_tunnel_with_the_right_server_name_carries_the_greeting_unchanged() -> None:
    hello = greeting("api.example.com")
    async with served(proxy) as scene:
        await scene.say(CONNECT)
        assert await scene.hear(len(ESTABLISHED)) == ESTABLISHED
        await scene.say(hello)
        assert await scene.host_hears(len(hello)) == hello
        await scene.host_says(b"server hello")
        assert await scene.hear() == b"server hello"
    assert scene.dialled == [("93.184.216.34", 443)]
    assert scene.event == EgressEvent(
        plugin="a",
        kind="tunnel",
        host="api.example.com",
        port=443,
        allowed=True,
        reason="",
        bytes=len(ESTABLISHED) + len(hello) + len(b"server hello"),
    )


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize("name", ["other.example.com", "example.com", None])
async def test_another_server_name_inside_a_tunnel_is_refused_and_nothing_goes_out(name: str | None) -> None:
    async with served(proxy) as scene:
        await scene.say(CONNECT)
        await scene.hear(len(ESTABLISHED))
        await scene.say(greeting(name))
        assert await scene.hear() == (ALERT_ACCESS_DENIED if name else b"")
        assert await scene.host_hears() == b""
    assert (scene.event.allowed, scene.event.host) == (False, "api.example.com")
    assert "server name" in scene.event.reason or "names no single server" in scene.event.reason


@pytest.mark.threat("T-EGRESS")
async def test_bytes_that_are_not_tls_do_not_pass_a_tunnel() -> None:
    async with served(proxy) as scene:
        await scene.say(CONNECT + b"SSH-2.0-OpenSSH\r\n")
        assert await scene.hear() == ESTABLISHED
        assert await scene.host_hears() == b""
    assert (scene.event.allowed, scene.event.reason) == (False, "not TLS")


async def test_plain_http_inside_a_tunnel_to_port_80_is_judged_like_any_other() -> None:
    connect = CONNECT.replace(b":443", b":80")
    async with served(proxy) as scene:
        await scene.say(connect + b"GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        assert await scene.host_hears(20) == b"GET /x HTTP/1.1\r\nhos"
        await scene.host_says(b"answer")
        assert await scene.hear() == ESTABLISHED + b"answer"
    async with served(proxy) as scene:
        await scene.say(connect + b"GET /x HTTP/1.1\r\nHost: other.example.com\r\n\r\n")
        assert await scene.hear() == ESTABLISHED
        assert await scene.host_hears() == b""
    assert scene.event.reason == "the Host header names another host"


async def test_an_absolute_request_is_carried_with_our_own_head() -> None:
    async with served(proxy) as scene:
        await scene.say(GET)
        sent = b"GET /a HTTP/1.1\r\nhost: api.example.com\r\n\r\n"
        assert await scene.host_hears(len(sent)) == sent
        await scene.host_says(b"HTTP/1.1 200 OK\r\n\r\nhi")
        assert await scene.hear() == b"HTTP/1.1 200 OK\r\n\r\nhi"
    assert (scene.event.kind, scene.event.allowed) == ("http", True)


@pytest.mark.threat("T-PARSER")
async def test_a_second_request_does_not_ride_behind_the_first() -> None:
    first = GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nok")
    sent = b"GET /a HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 2\r\n\r\nok"
    async with served(proxy) as scene:
        await scene.say(first + b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n")
        assert await scene.host_hears(len(sent)) == sent
        await scene.host_says(b"HTTP/1.1 200 OK\r\n\r\n")
        assert await scene.hear() == b"HTTP/1.1 200 OK\r\n\r\n"
        assert await scene.host_hears() == b""
    assert scene.event.allowed


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_another_request_on_the_connection_is_another_event_and_uses_the_same_way_out() -> None:
    async with served(proxy) as scene:
        for _ in range(2):
            await scene.say(GET)
            sent = b"GET /a HTTP/1.1\r\nhost: api.example.com\r\n\r\n"
            assert await scene.host_hears(len(sent)) == sent
            await scene.host_keeps(OK)
            assert await scene.hear(len(OK)) == OK
        scene.leave()
    assert len(scene.dialled) == 1
    assert [(event.host, event.allowed, event.bytes) for event in scene.events] == [
        ("api.example.com", True, len(OK) + len(sent))
    ] * 2


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (GET.replace(b"api.", b"other."), "the host or port is not on the allow-list"),
        (GET.replace(b"Host: api", b"Host: other"), "the Host header names another host"),
        (CONNECT, "a tunnel needs a connection of its own"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not an HTTP/1.1 request: HTTP/2 is not spoken here"),
    ],
)
async def test_every_request_of_a_connection_is_judged(second: bytes, reason: str) -> None:
    async with served(proxy) as scene:
        await scene.say(GET + second)
        await scene.host_hears(10)
        await scene.host_keeps(OK)
        assert await scene.hear(len(OK)) == OK
        scene.leave()
        assert reason.encode() in await scene.hear()
    assert [event.allowed for event in scene.events] == [True, False]
    assert scene.events[1].reason == reason
    assert len(scene.dialled) == 1


async def test_requests_that_were_sent_at_once_by_a_client_that_left_are_all_answered() -> None:
    async with served(proxy) as scene:
        await scene.say(GET * 3)
        scene.leave()
        sent = b"GET /a HTTP/1.1\r\nhost: api.example.com\r\n\r\n"
        for _ in range(3):
            assert await scene.host_hears(len(sent)) == sent
            await scene.host_keeps(OK)
        assert await scene.hear() == OK * 3
    assert [event.allowed for event in scene.events] == [True] * 3
    assert len(scene.dialled) == 1


WEBSOCKET = GET.replace(
    b"\r\n\r\n",
    b"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
)
OPENING_BYTES = len(WEBSOCKET) - len("http://api.example.com") - len("keep-alive, ")  # what we write instead
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def test_a_plain_websocket_is_carried_both_ways_once_the_host_agrees() -> None:
    async with served(proxy) as scene:
        await scene.say(WEBSOCKET)
        assert b"connection: upgrade\r\nupgrade: websocket\r\n\r\n" in await scene.host_hears(OPENING_BYTES)
        await scene.host_keeps(SWITCHING + b"\x81\x02hi")
        assert await scene.hear(len(SWITCHING) + 4) == SWITCHING + b"\x81\x02hi"
        await scene.say(b"\x81\x85frame")
        assert (await scene.host_hears(7)).endswith(b"frame")
        await scene.host_says(b"")
    assert [event.allowed for event in scene.events] == [True]


@pytest.mark.threat("T-EGRESS")
async def test_a_websocket_that_the_host_declines_opens_nothing() -> None:
    """The classic smuggle: ask for an upgrade, be declined, and go on as if it had been granted."""
    async with served(proxy) as scene:
        await scene.say(WEBSOCKET + GET.replace(b"api.", b"evil."))
        await scene.host_hears(20)
        await scene.host_keeps(OK.replace(b"200", b"426"))
        await scene.hear(len(OK))
        scene.leave()
        assert b"not on the allow-list" in await scene.hear()
    assert [event.allowed for event in scene.events] == [True, False]


async def test_a_change_of_protocol_that_nobody_asked_for_is_refused() -> None:
    async with served(proxy) as scene:
        await scene.say(GET)
        await scene.host_hears(20)
        await scene.host_keeps(SWITCHING)
        assert await scene.hear() == b""
    assert (scene.event.allowed, scene.event.reason) == (False, "the host changed the protocol unasked")


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (CONNECT.replace(b"api.", b"other."), "the host or port is not on the allow-list"),
        (CONNECT.replace(b":443", b":22"), "the host or port is not on the allow-list"),
        (CONNECT.replace(b"api.example.com", b"127.0.0.1"), "the host is not a plain DNS name"),
        (GET.replace(b"api.", b"other."), "the host or port is not on the allow-list"),
        (GET.replace(b"Host: api", b"Host: other"), "the Host header names another host"),
        (b"\x05\x01\x00\r\n\r\n", "not an HTTP/1.1 request"),
    ],
)
async def test_a_refused_proxy_request_is_answered_in_words(request_bytes: bytes, reason: str) -> None:
    async with served(proxy) as scene:
        await scene.say(request_bytes)
        scene.leave()
        answer = await scene.hear()
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert reason in answer.decode()
    assert scene.dialled == []
    assert not scene.event.allowed
    assert scene.event.reason.startswith(reason)


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00:ec2::254"])
async def test_a_listed_name_that_leads_inside_is_refused(address: str) -> None:
    async with served(proxy, [address]) as scene:
        await scene.say(CONNECT)
        scene.leave()
        assert b"not public" in await scene.hear()
    assert (scene.dialled, scene.event.allowed) == ([], False)


async def test_a_tunnel_to_a_granted_localhost_port_carries_anything() -> None:
    async with served(proxy) as scene:
        await scene.say(b"CONNECT localhost:5432 HTTP/1.1\r\nHost: localhost:5432\r\n\r\nstartup")
        assert await scene.host_hears(7) == b"startup"
        await scene.host_says(b"ready")
        assert await scene.hear() == ESTABLISHED + b"ready"
    assert scene.dialled == [("127.0.0.1", 5432)]


async def test_a_direct_tls_connection_needs_the_name_it_was_resolved_by() -> None:
    hello = greeting("api.example.com")
    async with served(tls) as scene:
        await scene.say(hello)
        assert await scene.host_hears(len(hello)) == hello
        await scene.host_says(b"x")
        assert await scene.hear() == b"x"
    assert (scene.event.kind, scene.event.allowed) == ("tls", True)
    async with served(tls) as scene:
        await scene.say(greeting("other.example.com"))
        assert await scene.hear() == ALERT_ACCESS_DENIED
    assert (scene.dialled, scene.event.reason) == ([], "the TLS server name is another host")
    assert scene.event.kind == "host"


async def test_a_direct_http_request_needs_the_name_it_was_resolved_by() -> None:
    async with served(http) as scene:
        await scene.say(b"GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n")
        scene.leave()
        assert b"403" in await scene.hear()
    assert (scene.dialled, scene.event.kind, scene.event.allowed) == ([], "host", False)


async def test_a_connection_that_says_nothing_is_one_refusal() -> None:
    async with served(tls) as scene:
        scene.leave()
    assert (scene.event.allowed, scene.dialled) == (False, [])


async def test_a_gate_that_closes_reports_what_it_cut() -> None:
    scene = Scene(["93.184.216.34"])
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scene.journey.serve_proxy())
            await scene.say(GET)
            await scene.host_hears(10)
            task.cancel()
    finally:
        scene.close()
    assert (scene.event.allowed, scene.event.reason) == (True, "the gate was closed")
