"""Questions for names are answered, and cost their plugin what reading costs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sekisho.egress.name_service import MAX_QUESTION_BYTES, answer_questions
from sekisho.egress.share import LOOK_BYTES, Share

WAIT_S = 20


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def served(share: Share, reply_to: Callable[[bytes], bytes | None]) -> AsyncIterator[socket.socket]:
    """A client whose questions are answered."""
    with _socket() as ours, _socket() as client:
        client.connect(ours.getsockname())
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            task = group.create_task(answer_questions(ours, share, reply_to))
            yield client
            task.cancel()


async def _answer(client: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(client, 1 << 16)


async def test_a_question_is_answered_and_what_deserves_no_answer_gets_none() -> None:
    async with served(Share(), lambda data: data.upper() if data != b"silent" else None) as client:
        client.send(b"silent")
        client.send(b"name")
        assert await _answer(client) == b"NAME"


async def test_what_is_too_long_is_cut_and_judged() -> None:
    async with served(Share(), lambda data: b"%d" % len(data)) as client:
        client.send(b"x" * (MAX_QUESTION_BYTES + 1000))
        assert await _answer(client) == b"%d" % MAX_QUESTION_BYTES


@pytest.mark.threat("T-FLOOD")
async def test_a_flood_of_questions_leaves_every_other_plugin_its_turns() -> None:
    turns = [0]
    at: list[int] = []

    def judged(data: bytes) -> bytes:
        at.append(turns[0])
        return data

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async with served(Share(turn_bytes=4 * LOOK_BYTES), judged) as client, asyncio.TaskGroup() as group:
        other = group.create_task(others())
        for number in range(40):
            client.send(b"%d" % number)
        for _ in range(40):
            await _answer(client)
        other.cancel()
    assert max(at.count(turn) for turn in at) <= 4


@pytest.mark.threat("T-FLOOD")
async def test_questions_and_replies_count_as_bytes_and_a_debt_makes_them_wait() -> None:
    share = Share(bytes_per_minute=6_000)  # 600 at once
    async with served(share, lambda data: data * 2) as client:
        client.send(b"x" * 100)
        await _answer(client)
        assert share.debt_s() == 0.0
        client.send(b"x" * 500)
        await _answer(client)
        assert share.debt_s() > 1.0


async def test_a_socket_that_is_none_any_more_ends_the_service() -> None:
    with _socket() as gone:
        gone.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            await answer_questions(gone, Share(), lambda data: data)


async def test_a_client_that_is_gone_ends_nothing() -> None:
    async with served(Share(), lambda data: data) as client:
        with _socket() as gone:
            gone.connect(client.getpeername())
            gone.send(b"x")
        client.send(b"y")
        assert await _answer(client) == b"y"
