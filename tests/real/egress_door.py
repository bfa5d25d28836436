"""A gate served on loopback, and an internet of two servers behind it, for tests that knock at its sockets.

Names lead to one public address and that address to servers on loopback, so the address rule is really asked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sekisho.egress import EgressEvent, EgressGate, GateSockets, Outlet
from sekisho.policy import Address, NetworkGrant, is_public

__all__ = ["LOOPS", "NETWORK", "Door", "Internet", "LoopFactory", "through"]

PUBLIC = "93.184.216.34"
INSIDE = {
    "metadata.listed.example": "169.254.169.254",
    "lan.listed.example": "10.0.0.1",
    "me.listed.example": "127.0.0.1",
}
NETWORK = NetworkGrant(allowed_domains=("api.example.com", "*.listed.example"), blocked_domains=("*",))
LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Internet:
    """One TLS server and one HTTP server that stand for every host, and the way there."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "host.pem"
        _write_certificate(self.certificate)
        self._ports: dict[int, int] = {}
        self.seen: list[bytes] = []
        self.asked: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        tls = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        http = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with tls, http:
            self._ports = {443: tls.sockets[0].getsockname()[1], 80: http.sockets[0].getsockname()[1]}
            yield

    def outlet(self, network: NetworkGrant) -> Outlet:
        return Outlet(network, resolve=self._resolve, dial=self._dial, is_allowed_address=is_public)

    async def _resolve(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        return [ip_address(INSIDE.get(host, PUBLIC))]

    async def _dial(self, address: Address, port: int) -> socket.socket:
        assert str(address) == PUBLIC
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._ports[port]))
        return sock

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.seen.append(await reader.readuntil(b"\r\n\r\n"))
            body = b"x" * 300_000  # larger than every buffer on the way
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def _write_certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.example.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))


class Door:
    """A served gate on loopback: its ports, and what it reported."""

    def __init__(self, internet: Internet) -> None:
        self.events: list[EgressEvent] = []
        self._gate = EgressGate("a", NETWORK, self.events.append, outlet=internet.outlet(NETWORK))
        self._sockets = GateSockets(
            proxy=_listening(socket.SOCK_STREAM),
            tls=_listening(socket.SOCK_STREAM),
            http=_listening(socket.SOCK_STREAM),
            dns=_listening(socket.SOCK_DGRAM),
        )
        self.proxy = int(self._sockets.proxy.getsockname()[1])
        self.names = int(self._sockets.dns.getsockname()[1])
        self.context = ssl.create_default_context(cafile=str(internet.certificate))

    async def serve(self) -> None:
        await self._gate.serve(self._sockets)

    async def tunnel(self, host: str, server_name: str) -> bytes:
        """What an HTTPS client gets through CONNECT: the answer of the proxy, or of the host."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy)
        try:
            writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                return head + await reader.read()
            await writer.start_tls(self.context, server_hostname=server_name)
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return await reader.read()
        finally:
            writer.close()

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()


def _listening(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if kind is socket.SOCK_STREAM:
        sock.listen()
    sock.setblocking(False)
    return sock


def through(
    tmp_path: Path, loop_factory: LoopFactory, play: Callable[[Door, Internet], Coroutine[Any, Any, None]]
) -> Door:
    """Run a play against a gate on one kind of event loop."""

    async def scene() -> Door:
        internet = Internet(tmp_path)
        async with asyncio.timeout(30), internet.running(), asyncio.TaskGroup() as group:
            door = Door(internet)
            task = group.create_task(door.serve())
            await play(door, internet)
            task.cancel()
        return door

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(scene())
