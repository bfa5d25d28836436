"""What is inside TLS reads and writes like any other stream."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from sekisho.egress.interception import InterceptionAuthority
from sekisho.egress.share import Share
from sekisho.egress.stream import Stream
from sekisho.egress.tls_stream import HANDSHAKE_BYTES, TlsStream, carry

AUTHORITY = InterceptionAuthority(("a.example",), datetime.now(UTC))


def _client() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=AUTHORITY.certificate_pem)


@asynccontextmanager
async def pair(name: str = "a.example") -> AsyncIterator[tuple[TlsStream, TlsStream, Stream]]:
    """Both ends after their greeting, and the bare stream below the server's."""
    left, right = socket.socketpair()
    with left, right:
        for one in (left, right):
            one.setblocking(False)
        below = Stream(right)
        client = TlsStream(Stream(left), _client(), server_name=name)
        server = TlsStream(below, AUTHORITY.context_for("a.example"))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(client.shake_hands())
            group.create_task(server.shake_hands())
        yield client, server, below


async def test_bytes_arrive_in_both_directions_at_once_and_are_counted() -> None:
    data = bytes(range(256)) * 4000

    async def receive(stream: Stream) -> bytes:
        got = b""
        while len(got) < len(data):
            got += await stream.read()
        return got

    async with pair() as (client, server, _), asyncio.timeout(20), asyncio.TaskGroup() as group:
        tasks = [group.create_task(receive(one)) for one in (client, server)]
        group.create_task(client.write(data))
        group.create_task(server.write(data))
    assert [task.result() for task in tasks] == [data, data]
    assert (client.sent, server.sent) == (len(data), len(data))


async def test_what_was_looked_at_below_is_part_of_the_greeting() -> None:
    left, right = socket.socketpair()
    with left, right:
        for one in (left, right):
            one.setblocking(False)
        below = Stream(right)
        client = TlsStream(Stream(left), _client(), server_name="a.example")
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(client.shake_hands())
            await below.look(lambda data: len(data) > 100 or None)
            await TlsStream(below, AUTHORITY.context_for("a.example")).shake_hands()


async def test_a_goodbye_is_an_end_and_a_cut_is_an_error() -> None:
    async with pair() as (client, server, _):
        await client.write(b"last words")
        client.end()
        assert [await server.read() for _ in range(3)] == [b"last words", b"", b""]
    async with pair() as (other, cut, _):
        other.abort()
        with pytest.raises(ssl.SSLError):
            await cut.read()


async def test_another_host_is_not_trusted_and_told_so() -> None:
    left, right = socket.socketpair()
    with left, right:
        for one in (left, right):
            one.setblocking(False)
        client = TlsStream(Stream(left), _client(), server_name="b.example")
        server = TlsStream(Stream(right), AUTHORITY.context_for("a.example"))
        shaking = (client.shake_hands(), server.shake_hands())
        said, heard = await asyncio.gather(*shaking, return_exceptions=True)
    assert isinstance(said, ssl.SSLCertVerificationError)
    assert "alert" in str(heard).lower()


async def test_a_quiet_side_stays_quiet_until_it_says_something() -> None:
    async with pair() as (client, server, _):
        assert [client.is_quiet, client.is_quiet] == [True, True]
        await server.write(b"unasked")
        assert [client.is_quiet] == [False]
        assert await client.read() == b"unasked"[:1]
        server.end()
        assert [client.is_quiet] == [False]


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(("tickets", "is_quiet"), [(0, True), (2, True), (600, False)])
async def test_a_host_that_sends_tickets_without_end_is_not_listened_to_for_long(
    tickets: int, is_quiet: bool
) -> None:
    context = AUTHORITY.context_for("a.example")
    usual, context.num_tickets = context.num_tickets, tickets
    try:
        async with pair() as (client, _server, _):
            assert client.is_quiet == is_quiet
    finally:
        context.num_tickets = usual


class Spent(Share):
    """A share that remembers what was spent on work."""

    total = 0

    def spend(self, count: int) -> None:
        self.total += count
        super().spend(count)


async def test_a_greeting_is_work_that_its_plugin_pays_for() -> None:
    left, right = socket.socketpair()
    with left, right:
        for one in (left, right):
            one.setblocking(False)
        share = Spent()
        client = TlsStream(Stream(left), _client(), server_name="a.example")
        server = TlsStream(Stream(right, share), AUTHORITY.context_for("a.example"))
        assert share.total == 0
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(client.shake_hands())
            group.create_task(server.shake_hands())
    assert share.total > HANDSHAKE_BYTES


async def test_a_carried_conversation_reaches_the_other_end() -> None:
    async with (
        pair() as (client, server, _),
        pair() as (outer, host, _),
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(carry(server, outer, idle_s=5))
        await client.write(b"question")
        assert await host.read() == b"question"
        await host.write(b"answer")
        assert await client.read() == b"answer"
        host.end()


async def test_a_conversation_in_which_nobody_speaks_ends() -> None:
    async with pair() as (_client_end, server, _), pair() as (outer, _host, _):
        async with asyncio.timeout(20):
            await carry(server, outer, idle_s=0.05)
