"""Bounded looks, and a relay that carries both ways and ends."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sekisho.egress.stream import Stream, relay
from sekisho.errors import Refused


class Ends:
    """A relay's two sockets and the far ends of both."""

    def __init__(self) -> None:
        (self.inside, near), (far, self.outside) = socket.socketpair(), socket.socketpair()
        for sock in (self.inside, near, far, self.outside):
            sock.setblocking(False)
        self.plugin, self.host = Stream(near), Stream(far)

    def close(self) -> None:
        for sock in (self.inside, self.outside, self.plugin.sock, self.host.sock):
            sock.close()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    pair = Ends()
    yield pair
    pair.close()


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def receive(sock: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 16)


async def test_a_look_leaves_the_bytes_to_be_read(ends: Ends) -> None:
    await send(ends.inside, b"hel")
    async with asyncio.TaskGroup() as group:
        look = group.create_task(ends.plugin.look(lambda data: len(data) if b"o" in data else None))
        await send(ends.inside, b"lo")
    assert look.result() == 5
    assert ends.plugin.take(2) + await ends.plugin.read() == b"hello"


async def test_an_end_before_anything_was_said_is_refused(ends: Ends) -> None:
    ends.inside.close()
    with pytest.raises(Refused):
        await ends.plugin.look(lambda data: data or None)


async def test_bytes_go_both_ways_until_the_host_ends(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(relay(ends.plugin, ends.host, filter_out=lambda data: data))
        await send(ends.inside, b"question")
        assert await receive(ends.outside) == b"question"
        await send(ends.outside, b"answer")
        assert await receive(ends.inside) == b"answer"
        ends.outside.close()
    assert (ends.plugin.sent, ends.host.sent) == (6, 8)


async def test_the_end_of_the_plugin_is_passed_on_and_the_answer_still_arrives(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(relay(ends.plugin, ends.host, filter_out=lambda data: data))
        ends.inside.shutdown(socket.SHUT_WR)
        assert await receive(ends.outside) == b""
        await send(ends.outside, b"late answer")
        ends.outside.close()
        assert await receive(ends.inside) == b"late answer"


async def test_what_the_filter_stops_never_goes_out(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(relay(ends.plugin, ends.host, filter_out=lambda data: None))
        await send(ends.inside, b"second request")
        await send(ends.outside, b"answer")
        assert await receive(ends.inside) == b"answer"
        ends.outside.close()
    assert ends.host.sent == 0


async def test_a_refusal_of_the_filter_ends_the_relay(ends: Ends) -> None:
    def refuse(_data: bytes) -> bytes | None:
        raise Refused("egress_refused", "no")

    await send(ends.inside, b"x")
    with pytest.raises(Refused):
        await relay(ends.plugin, ends.host, filter_out=refuse)


@pytest.mark.threat("T-FLOOD")
async def test_a_silent_relay_ends(ends: Ends) -> None:
    async with asyncio.timeout(5):
        await relay(ends.plugin, ends.host, filter_out=lambda data: data, idle_s=0.01)


async def test_a_broken_side_ends_the_relay(ends: Ends) -> None:
    await send(ends.outside, b"x" * 1000)
    ends.inside.close()
    ends.outside.close()
    async with asyncio.timeout(5):
        await relay(ends.plugin, ends.host, filter_out=lambda data: data)
