"""One request and its answer: what goes out, what comes back, and what the connections are good for then."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sekisho.egress.exchange import After, exchange
from sekisho.egress.stream import Stream
from sekisho.egress.tunnel import ProxyRequest, Target
from sekisho.errors import Refused

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Ends:
    """The two connections of an exchange, and the far ends of both."""

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


def request(length: int | None = 0, *, is_upgrade: bool = False) -> ProxyRequest:
    target = Target(host="api.example.com", port=80)
    return ProxyRequest(
        target=target, is_tunnel=False, head=b"HEAD", body_length=length, method=b"GET", is_upgrade=is_upgrade
    )


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def receive(sock: socket.socket, count: int) -> bytes:
    found = b""
    async with asyncio.timeout(20):
        while len(found) < count:
            data = await asyncio.get_running_loop().sock_recv(sock, count - len(found))
            if not data:
                break
            found += data
    return found


async def carried(ends: Ends, asked: ProxyRequest, *, idle_s: float = 5) -> After:
    async with asyncio.timeout(20):
        return await exchange(ends.plugin, ends.host, asked, idle_s=idle_s)


async def test_head_and_body_go_out_and_what_follows_stays(ends: Ends) -> None:
    await send(ends.inside, b"bodynext request")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(carried(ends, request(4)))
        assert await receive(ends.outside, 8) == b"HEADbody"
        await send(ends.outside, OK)
    assert task.result() == "kept"
    assert await receive(ends.inside, len(OK)) == OK
    assert ends.plugin.take(99) == b"next request"
    assert ends.host.is_quiet


async def test_a_chunked_body_is_framed_anew(ends: Ends) -> None:
    await send(ends.inside, b"4;x\r\n")
    with pytest.raises(Refused, match="malformed"):
        await carried(ends, request(None))
    assert await receive(ends.outside, 4) == b"HEAD"
    assert await receive(ends.outside, 1) == b""


async def test_an_answer_before_the_end_of_the_body_is_passed_and_ends_the_connection(ends: Ends) -> None:
    await send(ends.outside, OK)
    assert await carried(ends, request(100)) == "closed"
    assert await receive(ends.inside, len(OK)) == OK


async def test_the_end_of_the_plugin_is_passed_on_and_the_answer_still_arrives(ends: Ends) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(carried(ends, request()))
        ends.inside.shutdown(socket.SHUT_WR)
        assert await receive(ends.outside, 5) == b"HEAD"
        await send(ends.outside, OK)
    assert task.result() == "kept"
    assert await receive(ends.inside, len(OK)) == OK


async def test_words_after_the_answer_make_the_connection_useless_for_another(ends: Ends) -> None:
    await send(ends.outside, OK + b"HTTP/1.1 200 poisoned")
    assert await carried(ends, request()) == "kept"
    ends.plugin.end()
    assert await receive(ends.inside, 1000) == OK
    assert not ends.host.is_quiet


async def test_a_host_that_agrees_to_the_upgrade_switches(ends: Ends) -> None:
    await send(ends.outside, b"HTTP/1.1 101 Switching Protocols\r\n\r\nframe")
    assert await carried(ends, request(is_upgrade=True)) == "switched"
    assert ends.host.take(99) == b"frame"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12", b"HTTP/1.1 200 OK\r\n\r\nx"]
)
async def test_a_host_that_leaves_closes(ends: Ends, answer: bytes) -> None:
    await send(ends.outside, answer)
    ends.outside.shutdown(socket.SHUT_WR)
    assert await carried(ends, request()) == "closed"
    assert await receive(ends.inside, len(answer)) == answer


@pytest.mark.threat("T-FLOOD")
async def test_a_silent_exchange_ends(ends: Ends) -> None:
    assert await carried(ends, request(), idle_s=0.01) == "closed"


@pytest.mark.threat("T-FLOOD")
async def test_what_is_sent_ahead_of_the_answer_is_bounded(ends: Ends) -> None:
    flood = asyncio.get_running_loop().create_task(send(ends.inside, b"x" * (8 << 20)))
    task = asyncio.get_running_loop().create_task(carried(ends, request()))
    assert await receive(ends.outside, 4) == b"HEAD"
    for _ in range(200):
        await asyncio.sleep(0)
    assert ends.plugin.ahead_bytes <= 128 << 10
    await send(ends.outside, OK)
    assert await task == "kept"
    flood.cancel()
    await asyncio.wait([flood])
