"""Which road a connection takes, and how many there may be."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import pytest

from sekisho.egress import EgressEvent, EgressGate, GateSockets, Outlet
from sekisho.egress.share import LOOK_BYTES, TURN_BYTES, Share
from sekisho.policy import Address, NetworkGrant, is_public

NETWORK = NetworkGrant(allowed_domains=("api.example.com",))
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\3api\7example\3com\0\0\1\0\1"


def listening(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("0.0.0.0", 0))
    if kind is socket.SOCK_STREAM:
        sock.listen(64)
    sock.setblocking(False)
    return sock


class Door:
    """A served gate, and what a plugin inside would do with it."""

    def __init__(
        self,
        *,
        addresses: Sequence[str] = ("10.0.0.1",),
        max_connections: int = 8,
        turn_bytes: int = TURN_BYTES,
    ) -> None:
        self._addresses = [ip_address(text) for text in addresses]
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self.sockets = GateSockets(
            proxy=listening(stream), tls=listening(stream), http=listening(stream), dns=listening(datagram)
        )
        self.ports = {
            name: getattr(self.sockets, name).getsockname()[1] for name in ("proxy", "tls", "http", "dns")
        }
        self.events: asyncio.Queue[EgressEvent] = asyncio.Queue()
        outlet = Outlet(NETWORK, resolve=self._resolve, is_allowed_address=is_public)
        share = Share(max_connections=max_connections, turn_bytes=turn_bytes)
        self.gate = EgressGate("a", NETWORK, self.events.put_nowait, outlet=outlet, share=share)

    async def _resolve(self, _host: str) -> Sequence[Address]:
        return self._addresses

    async def connect(self, host: str, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, self.ports[name])

    async def exchange(self, host: str, name: str, data: bytes) -> bytes:
        reader, writer = await self.connect(host, name)
        try:
            with suppress(OSError):  # it was closed before we said our end
                writer.write(data)
                writer.write_eof()
                return await reader.read()
            return b""
        finally:
            writer.close()

    async def ask(self, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", self.ports["dns"]))
            await loop.sock_sendall(sock, query)
            return await loop.sock_recv(sock, 512)

    async def event(self) -> EgressEvent:
        return await self.events.get()


@asynccontextmanager
async def served(door: Door) -> AsyncIterator[Door]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(door.gate.serve(door.sockets))
        yield door
        task.cancel()


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize("name", ["tls", "http"])
async def test_a_connection_to_an_address_literal_is_refused(name: str) -> None:
    async with served(Door()) as door:
        assert await door.exchange("127.0.0.1", name, b"GET / HTTP/1.1\r\n\r\n") == b""
        event = await door.event()
    assert (event.kind, event.allowed, event.reason) == (
        name,
        False,
        "the connection went to an address instead of a name",
    )


async def test_the_address_of_an_answered_name_leads_to_its_road() -> None:
    async with served(Door()) as door:
        assert (await door.ask(QUERY))[-4:] == bytes((127, 1, 0, 1))
        answer = await door.exchange("127.1.0.1", "http", b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
        assert b"not public" in answer
        event = await door.event()
        assert (event.kind, event.host, event.port, event.allowed) == ("http", "api.example.com", 80, False)
        await door.exchange("127.1.0.1", "tls", b"not tls")
        event = await door.event()
        assert (event.kind, event.host, event.port, event.reason) == (
            "host",
            "api.example.com",
            443,
            "not TLS",
        )


@pytest.mark.threat("T-EGRESS")
async def test_a_question_for_another_name_is_denied_and_reported() -> None:
    async with served(Door()) as door:
        reply = await door.ask(QUERY.replace(b"\3api", b"\3bad"))
        event = await door.event()
    assert reply[3] & 15 == 3
    assert (event.kind, event.host, event.allowed) == ("dns", "bad.example.com", False)


@pytest.mark.threat("T-FLOOD")
async def test_one_connection_too_many_is_refused_and_others_go_on() -> None:
    async with served(Door(max_connections=1)) as door:
        _reader, first = await door.connect("127.0.0.1", "proxy")
        first.write(b"CONN")
        second, closing = await door.connect("127.0.0.1", "proxy")
        with suppress(ConnectionError):
            assert await second.read() == b""
        closing.close()
        assert (await door.event()).reason == "too many open connections"
        first.write(b"ECT x HTTP/1.1\r\n\r\n")
        first.write_eof()
        assert "port" in (await door.event()).reason
        first.close()


async def test_a_closed_gate_closes_its_sockets() -> None:
    async with served(Door()) as door:
        await door.ask(QUERY)
    assert door.sockets.proxy.fileno() == door.sockets.dns.fileno() == -1


@pytest.mark.threat("T-FLOOD")
async def test_a_flood_of_knocks_is_answered_a_few_in_a_turn() -> None:
    """They all wait already; between two turns of the loop only as many are taken as the share has looks."""
    door = Door(max_connections=1, turn_bytes=3 * LOOK_BYTES)
    knocks = [socket.create_connection(("127.0.0.1", door.ports["proxy"])) for _ in range(40)]
    taken: list[int] = []
    async with served(door):
        loop = asyncio.get_running_loop()
        while sum(taken) < 39:
            before = door.events.qsize()
            turn = loop.create_future()
            loop.call_soon(turn.set_result, None)
            await turn
            taken.append(door.events.qsize() - before)
        for knock in knocks:
            knock.close()
    assert max(taken) <= 4


async def test_a_socket_that_does_not_listen_ends_the_gate_and_not_the_process() -> None:
    door = Door()
    door.sockets.tls.close()
    deaf = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    deaf.setblocking(False)
    sockets = GateSockets(proxy=door.sockets.proxy, tls=deaf, http=door.sockets.http, dns=door.sockets.dns)
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(20):
            await door.gate.serve(sockets)
