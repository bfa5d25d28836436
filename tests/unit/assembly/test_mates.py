"""What workers say to each other: heard from our own user only, queued within a bound, lost with the dead."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekisho.assembly import mates
from sekisho.assembly.mates import Cancelled, Look, Mates, Message, Open, Serving

WAIT_S = 10.0


class Post:
    """A worker that keeps what it hears."""

    def __init__(self, folder: Path, worker: int, workers: int = 3) -> None:
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.mates = Mates(folder, worker, workers, self.heard.put_nowait)

    async def next(self) -> Message:
        return await asyncio.wait_for(self.heard.get(), WAIT_S)


@pytest.fixture
async def posts(tmp_path: Path) -> AsyncIterator[list[Post]]:
    made = [Post(tmp_path, worker) for worker in range(3)]
    for post in made:
        post.mates.open()
    yield made
    for post in made:
        post.mates.close()


async def test_what_is_said_to_all_is_heard_by_all_others_and_what_is_said_to_one_by_that_one(
    posts: list[Post],
) -> None:
    posts[1].mates.tell_all(Cancelled("aya", "s1", "7"))
    assert await posts[0].next() == await posts[2].next() == Cancelled("aya", "s1", "7")
    posts[0].mates.tell(2, Open(8443))
    posts[0].mates.tell(2, Look())
    assert [await posts[2].next(), await posts[2].next()] == [Open(8443), Look()]
    assert posts[1].heard.empty()


async def test_a_worker_that_reads_late_hears_everything_in_order(posts: list[Post]) -> None:
    for number in range(500):
        posts[0].mates.tell(1, Cancelled("aya", "s", number))
    assert [await posts[1].next() for _ in range(500)] == [Cancelled("aya", "s", n) for n in range(500)]


@pytest.mark.threat("T-FLOOD")
async def test_a_worker_that_never_reads_costs_a_bounded_queue(
    tmp_path: Path, posts: list[Post], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mates, "MAX_QUEUED", 3)
    posts[1].mates.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        path = tmp_path / "core-1.sock"
        path.unlink()
        deaf.bind(os.fspath(path))
        for number in range(2000):
            posts[0].mates.tell(1, Serving(number))
        assert posts[0].mates.unheard > 0
        posts[0].mates.tell(2, Look())  # the others are not kept waiting
        assert await posts[2].next() == Look()


async def test_a_worker_that_is_gone_needs_no_word(posts: list[Post]) -> None:
    posts[1].mates.close()
    posts[0].mates.tell_all(Look())
    assert await posts[2].next() == Look()


async def test_what_is_no_message_of_ours_is_passed_over(tmp_path: Path, posts: list[Post]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for data in (b"", b"{", b'{"type":"Burn"}', b'{"type":"Open","port":"x"}', b"\xff" * 100):
            sender.sendto(data, os.fspath(tmp_path / "core-0.sock"))
        sender.sendto(b'{"type":"Open","port":1}', os.fspath(tmp_path / "core-0.sock"))
    assert await posts[0].next() == Open(1)


@pytest.mark.threat("T-MITM")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the mode is tested below")
async def test_another_user_is_not_heard(tmp_path: Path, posts: list[Post]) -> None:
    path = tmp_path / "core-0.sock"
    path.chmod(0o666)  # even if the folder were open
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b'{"type":"Open","port":666}', os.fspath(path))
        os._exit(0)
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
    posts[1].mates.tell(0, Look())
    assert await posts[0].next() == Look()
    assert posts[0].mates.unheard == 1


async def test_the_socket_is_ours_alone(tmp_path: Path, posts: list[Post]) -> None:
    del posts
    assert stat.S_IMODE((tmp_path / "core-0.sock").stat().st_mode) == 0o600


async def test_a_request_id_that_fits_no_message_is_not_sent(posts: list[Post]) -> None:
    posts[0].mates.tell(1, Cancelled("aya", "s", "x" * mates.MAX_MESSAGE_BYTES))
    posts[0].mates.tell(1, Look())
    assert await posts[1].next() == Look()
    assert posts[0].mates.unheard == 1
