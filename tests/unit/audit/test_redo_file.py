"""The redo file: whoever was told has his record after a power cut, whatever the log itself lost."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sekisho.audit import redo_file
from sekisho.audit.logfile import LogFile
from sekisho.audit.redo import BLOCK_BYTES, MAX_ENTRY_BLOCKS
from sekisho.audit.redo_file import FILE_BLOCKS, RedoFile, reach, replay
from sekisho.errors import Tampered, Unavailable


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Desk:
    """A log with a redo file, and a writer who waits for each piece."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "redo"
        self.log = LogFile.open_locked(folder / "log")
        redo = RedoFile.create(self.path, self.log)
        if redo is None:
            pytest.skip("the file system of the temporary folder cannot be written directly (O_DIRECT)")
        self.redo = redo

    async def write(self, data: bytes) -> bool:
        """Append, and wait until it is durable; False: the redo file does not take it."""
        self.log.append(data)
        told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        if not self.redo.begin(told.set_result):
            return False
        async with asyncio.timeout(20):
            assert await told is None
        return True

    def close(self) -> None:
        self.redo.close()
        self.log.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.close()


def after_a_power_cut(folder: Path, log: bytes, redo: bytes) -> LogFile:
    """What a disk still has, as a log that is opened again."""
    folder.mkdir(exist_ok=True)
    (folder / "log").write_bytes(log)
    (folder / "redo").write_bytes(redo)
    return LogFile.open_locked(folder / "log")


def lines(count: int) -> list[bytes]:
    return [b'{"n":%d,"a":"%b"}\n' % (n, b"x" * (n * 37 % 300)) for n in range(count)]


def test_it_is_private_whole_and_empty(desk: Desk) -> None:
    state = desk.path.stat()
    assert state.st_mode & 0o777 == 0o600
    assert state.st_size == FILE_BLOCKS * BLOCK_BYTES
    assert state.st_blocks * 512 >= state.st_size, "its blocks are taken: no full disk can refuse them"
    assert reach(desk.path) == 0


@pytest.mark.threat("T-LOG")
async def test_whatever_the_log_lost_comes_back(desk: Desk, tmp_path: Path) -> None:
    for number, line in enumerate(lines(24)):
        assert await desk.write(line)
        if number == 7:
            desk.log.sync()
            desk.redo.release(desk.log.length)
            synced = desk.log.length
    whole, redo = (tmp_path / "log").read_bytes(), desk.path.read_bytes()
    assert whole == b"".join(lines(24))
    assert reach(desk.path) == len(whole)
    for length in range(len(whole), synced - 1, -17):  # beginning with nothing lost
        log = after_a_power_cut(tmp_path / "cut", whole[:length], redo)
        replay(tmp_path / "cut" / "redo", log)
        assert log.length == len(whole)
        log.close()
        assert (tmp_path / "cut" / "log").read_bytes() == whole
        assert not (tmp_path / "cut" / "redo").exists()


async def test_a_torn_write_takes_nothing_from_those_who_were_told(desk: Desk, tmp_path: Path) -> None:
    for line in lines(5):
        assert await desk.write(line)
    told = b"".join(lines(4))
    redo = bytearray(desk.path.read_bytes())
    redo[4 * BLOCK_BYTES + 100 : 5 * BLOCK_BYTES] = bytes(BLOCK_BYTES - 100)  # the fifth was under way
    for length in range(0, len(told) + 20, 7):
        log = after_a_power_cut(tmp_path / "cut", b"".join(lines(5))[:length], bytes(redo))
        replay(tmp_path / "cut" / "redo", log)
        log.close()
        assert (tmp_path / "cut" / "log").read_bytes()[: len(told)] == told


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("change", ["another log", "an entry gone", "nothing"])
async def test_what_does_not_fit_stops_the_opening(desk: Desk, tmp_path: Path, change: str) -> None:
    for line in lines(6):
        assert await desk.write(line)
    log, redo = b"".join(lines(3)), bytearray(desk.path.read_bytes())
    match change:
        case "another log":
            log = log.replace(b"x", b"y")
        case "an entry gone":
            redo[4 * BLOCK_BYTES : 5 * BLOCK_BYTES] = bytes(BLOCK_BYTES)
        case _:
            pass
    file = after_a_power_cut(tmp_path / "cut", log, bytes(redo))
    if change == "nothing":
        replay(tmp_path / "cut" / "redo", file)
    else:
        with pytest.raises(Tampered):
            replay(tmp_path / "cut" / "redo", file)
        assert (tmp_path / "cut" / "redo").exists(), "it is evidence"
        assert (tmp_path / "cut" / "log").read_bytes() == log
    file.close()


@pytest.mark.threat("T-FULLDISK")
async def test_a_full_disk_stops_the_opening_and_room_mends_it(desk: Desk, tmp_path: Path) -> None:
    for line in lines(6):
        assert await desk.write(line)
    log = after_a_power_cut(tmp_path / "cut", lines(1)[0], desk.path.read_bytes())
    with file_size_limit(100), pytest.raises(Unavailable, match="cannot be written"):
        replay(tmp_path / "cut" / "redo", log)
    replay(tmp_path / "cut" / "redo", log)
    log.close()
    assert (tmp_path / "cut" / "log").read_bytes() == b"".join(lines(6))


async def test_a_replay_that_was_interrupted_is_done_again(desk: Desk, tmp_path: Path) -> None:
    for line in lines(6):
        assert await desk.write(line)
    whole, redo = b"".join(lines(6)), desk.path.read_bytes()
    for length in range(0, len(whole) + 1, 13):  # it had added so much
        log = after_a_power_cut(tmp_path / "cut", whole[:length], redo)
        replay(tmp_path / "cut" / "redo", log)
        log.close()
        assert (tmp_path / "cut" / "log").read_bytes() == whole


async def test_a_full_file_waits_for_the_log(desk: Desk) -> None:
    taken = 0
    while await desk.write(b"x" * 99 + b"\n"):
        taken += 1
    assert taken == FILE_BLOCKS
    desk.redo.release(desk.log.length)
    assert await desk.write(b"again\n")


async def test_a_long_piece_goes_to_the_log_itself(desk: Desk) -> None:
    assert await desk.write(b"x" * (5 * BLOCK_BYTES) + b"\n")
    assert not await desk.write(b"x" * (MAX_ENTRY_BLOCKS * BLOCK_BYTES) + b"\n")


async def test_who_comes_while_one_is_written_changes_nothing_of_it(desk: Desk, tmp_path: Path) -> None:
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    desk.log.append(b"one\n")
    assert desk.redo.begin(told.set_result)
    desk.log.append(b"two\n")
    assert not desk.redo.begin(lambda _failure: None)
    async with asyncio.timeout(20):
        assert await told is None
    assert reach(desk.path) == len(b"one\n")
    assert await desk.write(b"three\n")
    log = after_a_power_cut(tmp_path / "cut", b"", desk.path.read_bytes())
    replay(tmp_path / "cut" / "redo", log)
    log.close()
    assert (tmp_path / "cut" / "log").read_bytes() == b"one\ntwo\nthree\n"


async def test_what_is_on_disk_already_is_not_written_again(desk: Desk) -> None:
    desk.log.append(b"x" * (MAX_ENTRY_BLOCKS * BLOCK_BYTES) + b"\n")
    desk.redo.release(desk.log.length)
    assert not desk.redo.begin(lambda _failure: None)
    assert await desk.write(b"short\n")


async def test_a_failed_write_is_told(desk: Desk) -> None:
    desk.log.append(b"one\n")
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    with file_size_limit(0):  # of what stands for a disk that fails
        assert desk.redo.begin(told.set_result)
        async with asyncio.timeout(20):
            assert isinstance(await told, OSError)


async def test_a_log_that_cannot_be_read_back_is_left_to_its_own_sync(desk: Desk, tmp_path: Path) -> None:
    desk.log.append(b"one\n")
    whole, desk.log.descriptor = desk.log.descriptor, os.open(tmp_path, os.O_RDONLY)  # reading that one fails
    assert not desk.redo.begin(lambda _failure: None)
    os.close(desk.log.descriptor)
    desk.log.descriptor = whole
    assert await desk.write(b"two\n")


def test_a_disk_that_cannot_do_it_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile.open_locked(tmp_path / "log")
    with file_size_limit(3 * BLOCK_BYTES):
        assert RedoFile.create(tmp_path / "redo", log) is None
    monkeypatch.setattr(redo_file, "_DIRECT", os.O_WRONLY | os.O_DIRECTORY)
    assert RedoFile.create(tmp_path / "redo", log) is None
    assert [one.name for one in tmp_path.iterdir()] == ["log"]
    log.close()


@pytest.mark.threat("T-FULLDISK")
def test_a_disk_with_little_room_is_left_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile.open_locked(tmp_path / "log")
    monkeypatch.setattr(redo_file, "ROOM_BYTES", 1 << 62)
    assert RedoFile.create(tmp_path / "redo", log) is None
    assert [one.name for one in tmp_path.iterdir()] == ["log"]
    log.close()


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    for name in ("redo", ".redo.new"):
        (tmp_path / name).symlink_to("elsewhere")
    log = LogFile.open_locked(tmp_path / "log")
    assert RedoFile.create(tmp_path / "redo", log) is None
    with pytest.raises(OSError, match="link"):
        replay(tmp_path / "redo", log)
    log.close()
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "redo")
    assert reach(tmp_path / "redo") == 0


@pytest.mark.threat("T-FULLDISK")
async def test_after_bytes_were_taken_back_the_log_itself_is_waited_for(desk: Desk) -> None:
    """The disk may have them still: after a crash they would contradict an entry."""
    assert await desk.write(b"one\n")
    with file_size_limit(20), pytest.raises(Unavailable):
        desk.log.append(b"x" * 100 + b"\n")
    assert not await desk.write(b"two\n")
    assert reach(desk.path) == len(b"one\n")


def test_without_one_nothing_is_replayed(tmp_path: Path) -> None:
    log = LogFile.open_locked(tmp_path / "log")
    replay(tmp_path / "redo", log)
    assert reach(tmp_path / "redo") == 0
    assert log.length == 0
    log.close()
