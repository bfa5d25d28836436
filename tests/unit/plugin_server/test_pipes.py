from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Sequence

import pytest

from sekisho.errors import SekishoError
from sekisho.plugin_server.pipes import (
    MAX_BEYOND_BYTES,
    MAX_QUEUED_BYTES,
    PIPE_BYTES,
    STDERR_TAIL_BYTES,
    Pipes,
)

WAIT_S = 5.0
MAX_LINE_BYTES = 1 << 20


class Ends:
    """The plugin's ends of three real pipes, and what ours reported."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.end: asyncio.Future[SekishoError] = asyncio.get_running_loop().create_future()
        self.ended_times = 0
        self.large: list[memoryview] = []  # kept, as if they were still to be sealed
        self.takes_large = True
        self.pipes = Pipes(
            receive_all=self._took,
            receive_large=self._took_large,
            on_end=self._ended,
            max_line_bytes=MAX_LINE_BYTES,
        )
        self.stdin = self.stdout = self.stderr = -1

    async def open(self) -> None:
        self.stdin, stdin = os.pipe()
        stdout, self.stdout = os.pipe()
        stderr, self.stderr = os.pipe()
        await self.pipes.open(stdin, stdout, stderr)

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.lines.get(), WAIT_S)

    async def why(self) -> SekishoError:
        return await asyncio.wait_for(asyncio.shield(self.end), WAIT_S)

    def close(self) -> None:
        self.pipes.close()
        for fd in {self.stdin, self.stdout, self.stderr} - {-1}:
            os.close(fd)

    def hang_up(self) -> None:
        os.close(self.stdout)
        self.stdout = -1

    def _took(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self.lines.put_nowait(line)

    def _took_large(self, place: memoryview, size: int) -> bool:
        if self.takes_large:
            self.large.append(place[:size])
            self.lines.put_nowait(b"large")
        return self.takes_large

    def _ended(self, error: SekishoError) -> None:
        self.ended_times += 1
        self.end.set_result(error)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    await made.open()
    yield made
    made.close()
    await asyncio.sleep(0)  # let the transports close their descriptors


async def test_messages_arrive_one_a_line_however_they_are_cut(ends: Ends) -> None:
    os.write(ends.stdout, b'{"a":1}\n{"b"')
    assert await ends.line() == b'{"a":1}'
    os.write(ends.stdout, b":2}\n")
    assert await ends.line() == b'{"b":2}'
    assert not ends.end.done()


async def test_pipes_of_messages_hold_a_large_one(ends: Ends) -> None:
    sizes = [fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) for fd in (ends.stdin, ends.stdout)]
    assert all(size == PIPE_BYTES for size in sizes) or _has_no_more_pipe_pages()


def _has_no_more_pipe_pages() -> bool:
    """Whether this user may have no further large pipe: then a small one works too."""
    ours = os.pipe()
    try:
        fcntl.fcntl(ours[0], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return True
    finally:
        for fd in ours:
            os.close(fd)
    return False


@pytest.mark.requirement("B7")
async def test_messages_of_one_turn_leave_in_one_write(ends: Ends) -> None:
    ends.pipes.send(b"one")
    ends.pipes.send(b"two")
    os.write(ends.stdout, b"turn\n")
    await ends.line()
    assert os.read(ends.stdin, 100) == b"one\ntwo\n"


@pytest.mark.threat("T-GARBAGE")
async def test_a_line_longer_than_the_limit_ends_the_plugin(ends: Ends) -> None:
    await asyncio.to_thread(os.write, ends.stdout, b"x" * (MAX_LINE_BYTES + 1))
    assert (await ends.why()).code == "result_too_large"
    assert ends.lines.empty()


async def test_a_line_as_long_as_the_limit_passes(ends: Ends) -> None:
    await asyncio.to_thread(os.write, ends.stdout, b"x" * MAX_LINE_BYTES + b"\n")
    assert await ends.line() == b"large"
    assert bytes(ends.large[0]) == b"x" * MAX_LINE_BYTES
    assert not ends.end.done()


@pytest.mark.threat("T-CROSS")
async def test_large_lines_stay_where_they_lie_in_order_and_are_not_read_over(ends: Ends) -> None:
    texts = [bytes([65 + number]) * (300_000 + number) for number in range(5)]
    stream = b"".join(b"%d\n%b\n" % (number, text) for number, text in enumerate(texts)) + b"end\n"
    await asyncio.to_thread(_write_all, ends.stdout, stream)
    heard = [await ends.line() for _ in range(11)]
    assert heard == [b"0", b"large", b"1", b"large", b"2", b"large", b"3", b"large", b"4", b"large", b"end"]
    assert [bytes(view) for view in ends.large] == texts


async def test_a_large_line_that_is_wanted_as_any_other_comes_before_those_behind_it(ends: Ends) -> None:
    ends.takes_large = False
    text = b"x" * 300_000
    await asyncio.to_thread(_write_all, ends.stdout, b"a\n" + text + b"\nb\n")
    assert [await ends.line() for _ in range(3)] == [b"a", text, b"b"]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


async def test_the_end_of_the_output_is_the_end_of_the_plugin(ends: Ends) -> None:
    ends.hang_up()
    assert (await ends.why()).code == "plugin_exited"
    assert ends.ended_times == 1


@pytest.mark.threat("T-HANG")
async def test_a_plugin_that_does_not_read_its_input_is_ended(ends: Ends) -> None:
    message = b"x" * (1 << 20)
    for _ in range((MAX_QUEUED_BYTES + MAX_BEYOND_BYTES) // len(message) + 2):
        ends.pipes.send(message)
    error = await ends.why()
    assert error.code == "plugin_unavailable"
    assert "does not read" in error.message


@pytest.mark.threat("T-FLOOD")
async def test_there_is_room_until_too_much_waits_and_again_once_it_was_read(ends: Ends) -> None:
    def has_room() -> bool:
        return ends.pipes.has_room()

    assert has_room()
    for _ in range(MAX_QUEUED_BYTES // (1 << 20) + 2):
        ends.pipes.send(b"x" * (1 << 20))
    assert not has_room()
    async with asyncio.timeout(WAIT_S):
        while not has_room():
            await asyncio.to_thread(os.read, ends.stdin, 1 << 20)
    assert not ends.end.done()


async def test_nothing_is_sent_after_the_end(ends: Ends) -> None:
    ends.hang_up()
    await ends.why()
    ends.pipes.send(b"late")
    os.set_blocking(ends.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(ends.stdin, 100)


async def test_only_the_tail_of_stderr_is_kept_and_never_mixed_with_messages(ends: Ends) -> None:
    os.write(ends.stderr, b"old" + b"x" * STDERR_TAIL_BYTES)
    os.write(ends.stdout, b"{}\n")
    assert await ends.line() == b"{}"  # both pipes were ready, so the same turn of the loop read both
    assert ends.pipes.stderr_tail == "x" * STDERR_TAIL_BYTES
    assert ends.lines.empty()
    assert not ends.end.done()


async def test_closing_after_the_plugin_closed_its_input_does_no_harm(ends: Ends) -> None:
    os.close(ends.stdin)
    ends.stdin = -1
    ends.pipes.send(b"into nothing")
    os.write(ends.stdout, b"{}\n")
    await ends.line()
    ends.pipes.close()
    ends.pipes.close()
