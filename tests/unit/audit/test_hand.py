"""The worker thread: in order, told once, in the loop."""

from __future__ import annotations

import asyncio
import threading

from sekisho.audit.hand import Hand


async def test_work_is_done_in_order_and_told_in_the_loop() -> None:
    hand, loop = Hand("test"), asyncio.get_running_loop()
    steps: list[object] = []
    ended = loop.create_future()

    def work(step: int) -> None:
        steps.append((step, threading.current_thread().name))

    def told(failure: BaseException | None) -> None:
        steps.append((failure, threading.current_thread() is threading.main_thread()))
        if len(steps) == 4:
            ended.set_result(None)

    for step in (1, 2):
        hand.do(lambda step=step: work(step), told)  # type: ignore[misc]  # mypy does not infer lambda defaults
    async with asyncio.timeout(20):
        await ended
    assert sorted(map(str, steps)) == ["(1, 'test')", "(2, 'test')", "(None, True)", "(None, True)"]
    hand.stop()


async def test_what_goes_wrong_is_told() -> None:
    hand = Hand("test")
    heard: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def work() -> None:
        raise OSError(5, "Input/output error")

    hand.do(work, heard.set_result)
    async with asyncio.timeout(20):
        assert isinstance(await heard, OSError)
    hand.stop()


def test_a_hand_that_was_never_used_stops() -> None:
    Hand("test").stop()


def test_a_loop_that_is_gone_does_not_break_the_thread() -> None:
    hand, started, done = Hand("test"), threading.Event(), threading.Event()

    def wait() -> None:
        started.wait(20)

    async def give() -> None:
        hand.do(wait, lambda failure: None)
        hand.do(done.set, lambda failure: None)

    asyncio.run(give())
    started.set()
    hand.stop()
    assert done.is_set()


async def test_without_a_thread_it_is_told_and_the_next_one_tries_again() -> None:
    hand, loop = Hand("test"), asyncio.get_running_loop()
    for is_possible in (False, True):
        heard: asyncio.Future[BaseException | None] = loop.create_future()
        before = threading.stack_size(0 if is_possible else 1 << 46)
        try:
            hand.do(lambda: None, heard.set_result)
        finally:
            threading.stack_size(before)
        async with asyncio.timeout(20):
            assert (await heard is None) == is_possible
    hand.stop()
