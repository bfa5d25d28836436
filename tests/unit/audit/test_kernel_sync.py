"""fdatasync by the kernel: told once, with what fdatasync itself would say."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from sekisho.audit import kernel_sync
from sekisho.audit.kernel_sync import KernelSync

WAIT_S = 20.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    yield descriptor
    os.close(descriptor)


async def _sync(kernel: KernelSync) -> BaseException | None:
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    assert kernel.begin(told.set_result)
    assert not told.done(), "it is never told before `begin` has returned"
    async with asyncio.timeout(WAIT_S):
        return await told


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_sync_is_told_once_in_the_loop(
    file: int, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def several() -> None:
        kernel = KernelSync(file)
        for _ in range(5):
            os.write(file, b"x" * 400)
            assert await _sync(kernel) is None
        kernel.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(several())


async def test_only_one_is_under_way(file: int) -> None:
    kernel, ended = KernelSync(file), asyncio.Event()
    assert kernel.begin(lambda failure: ended.set())
    assert not kernel.begin(lambda failure: None)
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
    assert await _sync(kernel) is None
    kernel.close()


async def test_what_fdatasync_would_say_is_told(file: int) -> None:
    """A descriptor that is closed meanwhile, and one of a thing that has no disk."""
    reading, writing = os.pipe()
    for descriptor in (reading, 1 << 20):
        with pytest.raises(OSError) as said:  # noqa: PT011  # which one is what is compared
            os.fdatasync(descriptor)
        kernel = KernelSync(descriptor)
        heard: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        if kernel.begin(heard.set_result):
            async with asyncio.timeout(WAIT_S):
                failure = await heard
            assert isinstance(failure, OSError)
            assert failure.errno == said.value.errno
        else:
            assert said.value.errno in (errno.EBADF, errno.EINVAL)
            assert not kernel.begin(heard.set_result), "who was refused once is not asked again"
        kernel.close()
    os.close(reading)
    os.close(writing)


async def test_a_kernel_without_it_is_not_asked(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_sync, "_NUMBERS", {})
    kernel = KernelSync(file)
    assert not kernel.begin(lambda failure: None)
    kernel.close()


async def test_nothing_is_left_behind_and_nothing_told_after_the_end(file: int) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    heard: list[BaseException | None] = []
    for _ in range(3):
        kernel = KernelSync(file)
        assert kernel.begin(heard.append)
        kernel.close()
        kernel.close()
        assert not kernel.begin(heard.append)
    await asyncio.sleep(0)
    assert heard == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before
