"""The listener for clients: what is renewed on disk counts without a restart, and what cannot be used changes nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sekisho.assembly.listening import Listener
from sekisho.assembly.places import Places
from sekisho.config import BindAddress, CoreServer
from sekisho.errors import Misconfigured
from sekisho.keys import Authority, KeyFolder, Role, SpiffeId

LATER = 10.0
WAIT_S = 20


def leaf(authority: Authority, name: str) -> bytes:
    """Certificate and key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    identity = SpiffeId(trust_domain="example.org", role=Role.CORE, name=name)
    certificate = authority.issue(identity, key.public_key(), time.time(), ips=("127.0.0.1",))
    return certificate.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


class Hall:
    """A listener with a certificate of its own authority, and clients that have one of another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create("example.org", time.time())
        self.clients = Authority.create("example.org", time.time())
        self.chain = folder / "chain.pem"
        self.chain.write_bytes(leaf(self.authority, "front"))
        self.ca = folder / "clients.pem"
        self.ca.write_bytes(self.clients.certificate_pem)
        self.server = CoreServer(
            bind_addr=BindAddress("127.0.0.1", 0), tls_cert_path=self.chain, tls_key_path=self.chain
        )
        places = Places(home=folder, config=folder / "sekisho.toml")
        places.make_folders()
        self.door = Listener(self.server, KeyFolder(folder / "keys", "example.org"), places, handshake_s=5)
        self.port = 0

    async def open(self) -> None:
        self.port = await self.door.open(Greeting)

    async def visit(self, certificate: bytes | None = None) -> tuple[bytes, bytes]:
        """The certificate that is shown, and what is said of ours."""
        context = ssl.create_default_context(cadata=self.authority.certificate_pem.decode())
        if certificate is not None:
            (self.folder / "mine.pem").write_bytes(certificate)
            context.load_cert_chain(self.folder / "mine.pem")
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            said = await reader.read()
            writer.close()
        return shown, said

    async def said_to(self, certificate: bytes) -> bytes:
        """What is said to whoever shows this; nothing when the connection is cut."""
        try:
            return (await self.visit(certificate))[1]
        except (ssl.SSLError, ConnectionError):
            return b""


class Greeting(asyncio.Protocol):
    """Says whether the client showed a certificate, and leaves."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        has_one = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        transport.write(b"known" if has_one else b"unknown")
        transport.close()


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    made = Hall(tmp_path)
    yield made
    made.door.close()


def written_later(path: Path, data: bytes) -> None:
    """As if time had passed: what is older than the last look is not read again."""
    path.write_bytes(data)
    os.utime(path, (time.time() + LATER, time.time() + LATER))


async def test_a_renewed_certificate_is_shown_to_the_next_client(hall: Hall) -> None:
    await hall.open()
    before, _ = await hall.visit()
    await hall.door.take_up_renewal(time.time(), None)
    assert (await hall.visit())[0] == before
    written_later(hall.chain, leaf(hall.authority, "renewed"))
    await hall.door.take_up_renewal(time.time() + 2 * LATER, None)
    assert (await hall.visit())[0] != before


@pytest.mark.parametrize("content", [b"", b"half a certif"])
async def test_a_certificate_that_is_half_written_changes_nothing(hall: Hall, content: bytes) -> None:
    await hall.open()
    before, _ = await hall.visit()
    written_later(hall.chain, content)
    for _ in range(2):
        with pytest.raises(Misconfigured):
            await hall.door.take_up_renewal(time.time() + 2 * LATER, None)
        assert (await hall.visit())[0] == before
    hall.chain.unlink()
    with pytest.raises(Misconfigured):
        await hall.door.take_up_renewal(time.time() + 2 * LATER, None)
    written_later(hall.chain, leaf(hall.authority, "whole"))
    await hall.door.take_up_renewal(time.time() + 2 * LATER, None)
    assert (await hall.visit())[0] != before


@pytest.mark.threat("T-TOKEN-STOLEN")
async def test_authorities_of_clients_come_change_and_go_while_it_listens(hall: Hall) -> None:
    await hall.open()
    mine, others = leaf(hall.clients, "mine"), leaf(Authority.create("example.org", time.time()), "others")
    assert (await hall.visit(mine))[1] == b"unknown"
    await hall.door.take_up_renewal(time.time(), hall.ca)
    assert (await hall.visit(mine))[1] == b"known"
    assert (await hall.visit())[1] == b"unknown"
    assert await hall.said_to(others) == b""  # its handshake fails, sooner or later
    written_later(hall.ca, b"no authority")
    with pytest.raises(Misconfigured):
        await hall.door.take_up_renewal(time.time(), hall.ca)
    assert (await hall.visit(mine))[1] == b"known"
    await hall.door.take_up_renewal(time.time(), None)
    assert (await hall.visit(mine))[1] == b"unknown"


async def test_authorities_that_are_named_before_it_listens_count_from_the_first_client(hall: Hall) -> None:
    await hall.door.take_up_renewal(time.time(), hall.ca)
    await hall.open()
    assert (await hall.visit(leaf(hall.clients, "mine")))[1] == b"known"


async def test_a_file_without_authorities_is_refused_before_anything_changes(hall: Hall) -> None:
    hall.door.check_authorities(hall.ca)
    hall.ca.write_bytes(b"nothing")
    with pytest.raises(Misconfigured):
        hall.door.check_authorities(hall.ca)
