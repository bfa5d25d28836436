"""The clerk: each piece of work is done once and told once, in the loop."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from sekisho.audit.clerk import Clerk

WAIT_S = 20.0


class Work:
    """Work that waits for leave, and fails when it is told to."""

    def __init__(self) -> None:
        self.leave = threading.Semaphore(0)
        self.threads: list[int] = []
        self.failure: BaseException | None = None

    def __call__(self) -> None:
        self.leave.acquire(timeout=WAIT_S)
        self.threads.append(threading.get_ident())
        if self.failure is not None:
            raise self.failure


async def result(clerk: Clerk) -> BaseException | None:
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    assert clerk.begin(told.set_result)
    async with asyncio.timeout(WAIT_S):
        return await told


@contextmanager
def no_more(kind: int, most: int) -> Iterator[None]:
    """A limit of this process, for a moment."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@contextmanager
def no_threads() -> Iterator[None]:
    """A stack that no memory has room for: the kernel gives no thread, whoever asks."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_piece_is_done_once_in_one_other_thread(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def several() -> None:
        work = Work()
        clerk = Clerk("clerk", work)
        for _ in range(5):
            work.leave.release()
            assert await result(clerk) is None
        clerk.close()
        assert len(work.threads) == 5
        assert len(set(work.threads)) == 1
        assert work.threads[0] != threading.get_ident()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(several())


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), ZeroDivisionError()])
async def test_what_went_wrong_is_told_and_it_goes_on(failure: BaseException) -> None:
    work = Work()
    clerk = Clerk("clerk", work)
    for work.failure in (failure, None):
        work.leave.release()
        assert await result(clerk) is work.failure
    clerk.close()


async def test_only_one_is_under_way() -> None:
    work, heard = Work(), asyncio.Event()
    clerk = Clerk("clerk", work)
    assert clerk.begin(lambda failure: heard.set())
    assert not clerk.begin(lambda failure: None)
    work.leave.release()
    async with asyncio.timeout(WAIT_S):
        await heard.wait()
    assert len(work.threads) == 1
    assert not clerk.is_busy
    clerk.close()


async def test_the_end_waits_for_what_is_under_way_and_tells_nobody() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    work, heard = Work(), list[BaseException | None]()
    for count in (1, 2, 3):
        clerk = Clerk("clerk", work)
        assert clerk.begin(heard.append)
        work.leave.release()
        clerk.close()
        clerk.close()
        assert len(work.threads) == count
        assert not clerk.begin(heard.append)
    await asyncio.sleep(0)
    assert heard == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    Clerk("clerk", work).close()


def test_a_clerk_that_gets_one_descriptor_of_two_gives_it_back() -> None:
    lowest = os.dup(0)
    os.close(lowest)
    with no_more(resource.RLIMIT_NOFILE, lowest + 1), pytest.raises(OSError):  # noqa: PT011  # EMFILE or EINVAL
        Clerk("clerk", Work())
    again = os.dup(0)
    os.close(again)
    assert again == lowest


async def test_a_moment_without_descriptors_or_threads_costs_nobody_the_next_one() -> None:
    work = Work()
    work.leave.release()
    clerk = Clerk("clerk", work)
    with no_threads():
        assert not clerk.begin(lambda _failure: None)
        assert not clerk.is_busy
    with no_more(resource.RLIMIT_NOFILE, 0):
        with pytest.raises(OSError):  # noqa: PT011  # one says EMFILE, the other EINVAL
            os.dup(0)
        assert await result(clerk) is None
    clerk.close()
    clerk.close()
    assert not clerk.begin(lambda _failure: None)
