from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sekisho.assembly.stdio import MOST_OWED_BYTES, ClientPipes

WAIT_S = 20.0
LIMIT = 1 << 10


class Client:
    """Both ends of the pipes, and what was heard."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.pressure: list[bool] = []
        self.pipes = ClientPipes(take=self.lines.append, on_pressure=self._press, max_line_bytes=LIMIT)
        self.changed = asyncio.Event()
        ours, self.says = os.pipe()
        self.hears, theirs = os.pipe()
        self.ends = (ours, theirs)

    def _press(self, is_pressed: bool) -> None:
        self.pressure.append(is_pressed)
        self.changed.set()

    async def read_all(self, until: bytes) -> bytes:
        """What comes until this, in a thread of its own."""

        def read() -> bytes:
            data = b""
            while not data.endswith(until) and (piece := os.read(self.hears, 1 << 20)):
                data = data[-64:] + piece
            return data

        return await asyncio.wait_for(asyncio.to_thread(read), WAIT_S)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    one = Client()
    await one.pipes.open(*one.ends)
    try:
        yield one
    finally:
        one.pipes.close()
        await asyncio.sleep(0)
        for fd in (one.says, one.hears):
            if fd >= 0:
                os.close(fd)


async def test_lines_come_whole_and_the_end_is_told() -> None:
    async with client() as one:
        os.write(one.says, b"a\n\nb")
        os.write(one.says, b"c\n")
        os.close(one.says)
        one.says = -1
        assert await asyncio.wait_for(one.pipes.ended(), WAIT_S) is None
        assert one.lines == [b"a", b"bc"]


@pytest.mark.threat("T-FLOOD")
async def test_a_line_without_end_ends_the_reading_with_an_error() -> None:
    async with client() as one:
        os.write(one.says, b"x" * (LIMIT + 1))
        problem = await asyncio.wait_for(one.pipes.ended(), WAIT_S)
        assert problem is not None
        assert problem.code == "result_too_large"


async def test_a_message_is_one_line() -> None:
    async with client() as one:
        one.pipes.write(b'{"a":\r\n1}')
        assert await one.read_all(b"\n") == b'{"a":  1}\n'


@pytest.mark.threat("T-FLOOD")
async def test_a_client_that_does_not_read_is_noticed_and_loses_nothing() -> None:
    async with client() as one:
        for _ in range(40):
            one.pipes.write(b"x" * (64 << 10))
        assert one.pressure == [True]
        one.pipes.write(b"y" * MOST_OWED_BYTES)
        os.write(one.says, b"unheard\n")
        await asyncio.sleep(0)
        assert one.lines == []
        one.changed.clear()
        one.pipes.write(b"last")
        assert (await one.read_all(b"last\n")).endswith(b"\nlast\n")
        await asyncio.wait_for(one.changed.wait(), WAIT_S)
        assert one.pressure == [True, False]
        os.close(one.says)
        one.says = -1
        await asyncio.wait_for(one.pipes.ended(), WAIT_S)
        assert one.lines == [b"unheard"]


async def test_a_client_that_is_gone_is_known_without_writing() -> None:
    async with client() as one:
        assert not one.pipes.is_gone()
        os.close(one.hears)
        one.hears = -1
        assert one.pipes.is_gone()
        one.pipes.write(b"to nobody")
        await asyncio.wait_for(one.pipes.finish(), WAIT_S)


async def test_finishing_waits_until_all_is_read() -> None:
    async with client() as one:
        one.pipes.write(b"x" * (4 << 20))
        finishing = asyncio.ensure_future(one.pipes.finish())
        await asyncio.sleep(0)
        assert not finishing.done()
        await one.read_all(b"\n")
        await asyncio.wait_for(finishing, WAIT_S)


async def test_files_stand_in_for_pipes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\nb\n")
    lines: list[bytes] = []
    pipes = ClientPipes(take=lines.append, on_pressure=lambda _: None, max_line_bytes=LIMIT)
    given = os.open(tmp_path / "in", os.O_RDONLY)
    taken = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    await pipes.open(given, taken)
    assert await asyncio.wait_for(pipes.ended(), WAIT_S) is None
    pipes.write(b"answer")
    await pipes.finish()
    pipes.close()
    assert lines == [b"a", b"b"]
    assert (tmp_path / "out").read_bytes() == b"answer\n"


async def test_a_device_that_nobody_can_wait_for_ends_at_once() -> None:
    lines: list[bytes] = []
    pipes = ClientPipes(take=lines.append, on_pressure=lambda _: None, max_line_bytes=LIMIT)
    await pipes.open(os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
    assert await asyncio.wait_for(pipes.ended(), WAIT_S) is None
    pipes.write(b"answer")
    await pipes.finish()
    pipes.close()
    assert lines == []
