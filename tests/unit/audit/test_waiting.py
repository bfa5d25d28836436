"""Those who wait for the disk: one sync at a time, shared by all who came meanwhile."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest

from sekisho.audit.counters import Extent
from sekisho.audit.hand import Told
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
        self.durables: list[int] = []
        self.waiting = Waiting(self.sync, self)

    def sync(self) -> None:
        self.begun.release()
        self.may_end.acquire(timeout=20)
        if self.fails:
            raise OSError(5, "Input/output error")

    def written(self) -> Extent:
        return Extent(self.count, 0)

    def durable(self, records: int, seconds: float) -> None:
        assert seconds >= 0
        self.durables.append(records)

    def synced_behind(self, written: Extent, seconds: float) -> None:
        assert seconds > 0
        self.synced.append(written.records)

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


class Spare:
    """A redo file that takes what it is given, or not, and fails, or not."""

    def __init__(self) -> None:
        self.takes = True
        self.failure: OSError | None = None
        self.begun = 0

    def begin(self, told: Told) -> bool:
        if self.takes:
            self.begun += 1
            asyncio.get_running_loop().call_soon(told, self.failure)
        return self.takes


async def test_a_redo_file_keeps_the_log_from_being_synced() -> None:
    disk, spare = Disk(), Spare()
    disk.waiting = Waiting(disk.sync, disk, redo=spare)
    heard: list[SekishoError | None] = []
    for _ in range(3):
        disk.add(heard.append)
    await disk.waiting.idle()
    assert heard == [None] * 3
    assert (spare.begun, disk.durables, disk.synced) == (2, [1, 3], [])
    disk.waiting.close()


async def test_a_redo_file_that_has_no_room_sends_them_to_the_log() -> None:
    disk, spare = Disk(), Spare()
    disk.waiting = Waiting(disk.sync, disk, redo=spare)
    heard: list[SekishoError | None] = []
    disk.may_end.release()
    for spare.takes in (False, True):
        disk.add(heard.append)
        async with asyncio.timeout(20):
            await disk.waiting.idle()
    assert heard == [None, None]
    assert (spare.begun, disk.durables, disk.synced) == (1, [2], [1])
    disk.waiting.close()


@pytest.mark.threat("T-FULLDISK")
async def test_a_redo_file_that_fails_is_not_asked_again_and_the_log_tells_how_it_is() -> None:
    disk, spare = Disk(), Spare()
    spare.failure = OSError(errno.EIO, "Input/output error")
    disk.waiting = Waiting(disk.sync, disk, redo=spare)
    heard: list[SekishoError | None] = []
    for _ in range(2):
        disk.may_end.release()
        disk.add(heard.append)
        async with asyncio.timeout(20):
            await disk.waiting.idle()
    assert heard == [None, None]
    assert (spare.begun, disk.durables, disk.synced) == (1, [], [1, 2])
    disk.waiting.close()


@pytest.mark.threat("T-FULLDISK")
async def test_nobody_is_told_when_redo_file_and_log_fail() -> None:
    disk, spare = Disk(), Spare()
    spare.failure, disk.fails = OSError(errno.EIO, "Input/output error"), True
    disk.may_end.release()
    disk.waiting = Waiting(disk.sync, disk, redo=spare)
    heard: list[SekishoError | None] = []
    disk.add(heard.append)
    async with asyncio.timeout(20):
        await disk.waiting.idle()
    assert [type(problem) for problem in heard] == [Unavailable]
    disk.waiting.close()
