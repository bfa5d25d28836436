"""A relay carries both ways, keeps at most one read, and ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from sekisho.egress.relay import relay
from sekisho.egress.share import READ_BYTES, Share
from sekisho.egress.stream import Stream
from sekisho.errors import Refused


class Ends:
    """A relay's two sockets and the far ends of both."""

    def __init__(self, share: Share | None = None) -> None:
        (self.inside, near), (far, self.outside) = socket.socketpair(), socket.socketpair()
        for sock in (self.inside, near, far, self.outside):
            sock.setblocking(False)
        self.share = Share(turn_bytes=1 << 16) if share is None else share
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


async def test_bytes_go_both_ways_until_the_host_ends(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(relay(ends.plugin, ends.host))
        await send(ends.inside, b"question")
        assert await receive(ends.outside) == b"question"
        await send(ends.outside, b"answer")
        assert await receive(ends.inside) == b"answer"
        ends.outside.close()
    assert (ends.plugin.sent, ends.host.sent) == (6, 8)


async def test_the_end_of_the_plugin_is_passed_on_and_the_answer_still_arrives(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(relay(ends.plugin, ends.host))
        ends.inside.shutdown(socket.SHUT_WR)
        assert await receive(ends.outside) == b""
        await send(ends.outside, b"late answer")
        ends.outside.close()
        assert await receive(ends.inside) == b"late answer"


@pytest.mark.threat("T-FLOOD")
async def test_a_silent_relay_ends(ends: Ends) -> None:
    async with asyncio.timeout(20):
        await relay(ends.plugin, ends.host, idle_s=0.01)


async def test_a_broken_side_ends_the_relay(ends: Ends) -> None:
    await send(ends.outside, b"x" * 1000)
    ends.inside.close()
    ends.outside.close()
    async with asyncio.timeout(20):
        await relay(ends.plugin, ends.host)


@pytest.mark.threat("T-FLOOD")
async def test_a_side_that_never_reads_costs_one_buffer_and_its_twin_is_carried(ends: Ends) -> None:
    ends.plugin.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    twin = Ends()
    offered = 0
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(relay(ends.plugin, ends.host)),
            group.create_task(relay(twin.plugin, twin.host)),
        ]
        for _ in range(200):
            with contextlib.suppress(BlockingIOError):
                offered += ends.outside.send(b"x" * READ_BYTES)
            await send(twin.inside, b"?")
            assert await receive(twin.outside) == b"?"
        sent_at_rest = ends.plugin.sent
        await send(twin.inside, b"!")
        assert await receive(twin.outside) == b"!"
        assert ends.plugin.sent == sent_at_rest
        for task in tasks:
            task.cancel()
    twin.close()
    kept_by_kernel = 4 << 20  # the buffers of both socket pairs
    assert offered <= kept_by_kernel + READ_BYTES


async def test_what_was_read_ahead_goes_first_and_everything_arrives_in_order(ends: Ends) -> None:
    data = bytes(range(256)) * 4096
    ends.plugin.put_back(data[:1000])
    found = b""
    async with asyncio.TaskGroup() as group:
        group.create_task(relay(ends.plugin, ends.host))
        group.create_task(send(ends.inside, data[1000:]))
        while len(found) < len(data):
            found += await receive(ends.outside)
        ends.outside.close()
    assert found == data
    assert ends.host.sent == len(data)


@pytest.mark.threat("T-FLOOD")
async def test_a_hog_moves_no_more_in_a_turn_than_its_share() -> None:
    """Turns are counted by the share itself: between two of them a hog with many full sockets moves a bounded amount."""
    share = Share(turn_bytes=1 << 16)
    pairs = [Ends(share) for _ in range(20)]
    moved: list[int] = []
    try:
        for pair in pairs:
            for _ in range(40):
                with contextlib.suppress(BlockingIOError):
                    pair.inside.send(b"x" * (1 << 16))
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(relay(pair.plugin, pair.host)) for pair in pairs]
            for _ in range(30):
                before = sum(pair.host.sent for pair in pairs)
                turn = loop.create_future()
                loop.call_soon(turn.set_result, None)
                await turn
                moved.append(sum(pair.host.sent for pair in pairs) - before)
            for task in tasks:
                task.cancel()
    finally:
        for pair in pairs:
            pair.close()
    assert max(moved) <= 2 << 16
    assert sum(moved) > 1 << 18


class Listener:
    """Refuses what holds a word, and looks at one read of the host."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def from_plugin(self, data: bytes) -> bool:
        if b"evil" in data:
            raise Refused("egress_refused", "evil")
        self.heard.append(data)
        return True

    def from_host(self, data: bytes) -> bool:
        self.heard.append(data)
        return False


@pytest.mark.threat("T-EGRESS")
async def test_what_a_watch_refuses_is_not_passed_on(ends: Ends) -> None:
    listener = Listener()
    relaying = asyncio.ensure_future(relay(ends.plugin, ends.host, watch=listener))
    await send(ends.inside, b"good")
    assert await receive(ends.outside) == b"good"
    await send(ends.inside, b"evil")
    with pytest.raises(Refused):
        await relaying
    assert ends.host.sent == 4
    assert b"good" in listener.heard


@pytest.mark.threat("T-EGRESS")
async def test_what_was_read_ahead_is_watched_too(ends: Ends) -> None:
    ends.plugin.put_back(b"evil")
    with pytest.raises(Refused):
        await relay(ends.plugin, ends.host, watch=Listener())
    assert ends.host.sent == 0


async def test_a_side_that_was_seen_enough_is_carried_unseen(ends: Ends) -> None:
    listener = Listener()
    relaying = asyncio.ensure_future(relay(ends.plugin, ends.host, watch=listener))
    for word in (b"first", b"second"):
        await send(ends.outside, word)
        assert await receive(ends.inside) == word
    ends.outside.close()
    await relaying
    assert b"second" not in listener.heard
