"""Those who wait for the disk: one sync at a time, shared by all who came meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sekisho.audit.waiting import Done, Waiting, tell
from sekisho.errors import SekishoError, Unavailable


class Disk:
    """A disk that syncs when it is told to, and an owner of a log on it."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.fails = False
        self.synced: list[int] = []
        self.count = 0
        self.waiting = Waiting(self.sync, self)

    def sync(self) -> None:
        self.begun.release()
        self.may_end.acquire(timeout=20)
        if self.fails:
            raise OSError(5, "Input/output error")

    def written(self) -> int:
        return self.count

    def synced_behind(self, written: int, seconds: float) -> None:
        assert seconds > 0
        self.synced.append(written)

    def end(self, problem: SekishoError) -> None:
        self.waiting.end(problem)

    def add(self, done: Done) -> None:
        self.count += 1
        self.waiting.add([done])


async def test_who_comes_during_a_sync_shares_the_next_one() -> None:
    disk = Disk()
    heard: list[str] = []
    for name in "abc":
        disk.add(lambda _problem, name=name: heard.append(name))  # type: ignore[misc]  # mypy does not infer lambda defaults
    disk.begun.acquire(timeout=20)
    assert heard == []
    for _ in range(2):
        disk.may_end.release()
    async with asyncio.timeout(20):
        await disk.waiting.idle()
    assert heard == ["a", "b", "c"]
    assert disk.synced == [1, 3], "one sync for the first, one for the two who came meanwhile"
    disk.waiting.close()


async def test_after_a_failed_sync_everybody_hears_it() -> None:
    disk = Disk()
    disk.fails = True
    heard: list[SekishoError | None] = []
    disk.add(heard.append)
    disk.add(heard.append)
    disk.may_end.release()
    async with asyncio.timeout(20):
        await disk.waiting.idle()
    disk.add(heard.append)
    assert [type(problem) for problem in heard] == [Unavailable] * 3
    assert disk.synced == []
    disk.waiting.close()


async def test_the_thread_does_other_work_too_and_tells_its_errors() -> None:
    disk = Disk()
    disk.may_end.release()
    await disk.waiting.do(disk.sync)
    disk.fails = True
    disk.may_end.release()
    with pytest.raises(OSError, match="Input/output"):
        await disk.waiting.do(disk.sync)
    disk.waiting.close()


async def test_one_bug_does_not_silence_the_others() -> None:
    heard: list[SekishoError | None] = []

    def broken(_problem: SekishoError | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tell([heard.append, broken, heard.append], None)
    assert heard == [None]
    await asyncio.sleep(0)
    assert heard == [None, None]
