"""Bounded looks, bytes put back, and reads that wait for their share."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sekisho.egress.share import Share
from sekisho.egress.stream import Stream
from sekisho.errors import Refused


class Ends:
    """A relay's two sockets and the far ends of both."""

    def __init__(self) -> None:
        (self.inside, near), (far, self.outside) = socket.socketpair(), socket.socketpair()
        for sock in (self.inside, near, far, self.outside):
            sock.setblocking(False)
        self.share = Share(turn_bytes=1 << 16)
        self.plugin, self.host = Stream(near, self.share), Stream(far, self.share)

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
    async with asyncio.timeout(20):
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


async def test_what_is_put_back_is_read_first(ends: Ends) -> None:
    await send(ends.inside, b"c")
    ends.plugin.put_back(b"b")
    ends.plugin.put_back(b"a")
    assert await ends.plugin.more()
    assert ends.plugin.ahead_bytes == 3
    assert await ends.plugin.read() == b"abc"


async def test_only_a_connection_that_is_there_and_silent_is_quiet(ends: Ends) -> None:
    found = [ends.host.is_quiet]
    await send(ends.outside, b"x")
    found.append(ends.host.is_quiet)
    assert await ends.host.read() == b"x"
    found.append(ends.host.is_quiet)
    ends.outside.close()
    found.append(ends.host.is_quiet)
    assert found == [True, False, True, False]


async def test_a_read_waits_for_room_and_then_has_all_its_bytes(ends: Ends) -> None:
    await send(ends.inside, b"x" * 100)
    ends.share.charge(1 << 20)
    assert await ends.plugin.read() == b"x" * 100
