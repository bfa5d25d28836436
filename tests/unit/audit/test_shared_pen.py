"""The pens of several writers: one numbering, and what a dead one left is kept whole or cut whole."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.audit import shared_pen as module
from sekisho.audit.counters import Counters, Extent
from sekisho.audit.logfile import LogFile
from sekisho.audit.pen import number
from sekisho.audit.shared_pen import SharedPen
from sekisho.errors import Tampered, Unavailable


def pens(path: Path, count: int) -> list[SharedPen]:
    """Writers of one new log, as `opening` makes them."""
    made = [
        SharedPen(LogFile.open_unlocked(path), Counters.create(path.with_name("counters")))
        for _ in range(count)
    ]
    made[0].counters.begin(path.stat(), Extent(0, 0), is_signed=True)
    return made


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=20))
def test_writers_share_one_numbering(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    writers = pens(path, 3)
    expected: list[bytes] = []
    for who, count in batches:
        told = writers[who].write([b'{"who":%d}' % who] * count)
        expected += told
    assert lines(path) == expected == number([b'{"who":%d}' % who for who, n in batches for _ in range(n)], 0)
    assert {writer.size for writer in writers} == {len(expected)}
    for writer in writers:
        writer.close()


@pytest.mark.threat("T-LOG")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.data())
def test_a_dead_writer_s_batch_is_kept_whole_or_cut_whole(
    tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    dead, alive = pens(path, 2)
    dead.write([b'{"a":0}'])
    records = number([b'{"a":"%d"}' % i for i in range(count)], 1)
    batch = b"\n".join(records) + b"\n"
    came = data.draw(st.integers(0, len(batch)))
    dead.counters.announce(dead.file.length, Extent(1 + count, dead.file.length + len(batch)))
    os.write(dead.file.descriptor, batch[:came])
    dead.close()
    alive.write([b'{"a":"after"}'])
    kept = records if came == len(batch) else []
    assert lines(path) == [b'{"n":0,"a":0}', *kept, b'{"n":%d,"a":"after"}' % (1 + len(kept))]
    alive.close()


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("change", ["longer", "shorter", "removed", "longer than announced", "other bytes"])
def test_bytes_that_no_writer_announced_stop_them_all(tmp_path: Path, change: str) -> None:
    path = tmp_path / "log"
    one, other = pens(path, 2)
    one.write([b'{"a":1}'])
    match change:
        case "longer":
            os.write(other.file.descriptor, b'{"n":1,"forged":true}\n')
        case "shorter":
            os.truncate(path, 3)
        case "removed":
            path.unlink()
        case "longer than announced":
            one.counters.announce(14, Extent(2, 20))
            os.write(other.file.descriptor, b'{"n":1,"forged":true}\n')
        case _:
            one.counters.announce(14, Extent(2, 28))
            os.write(other.file.descriptor, b'{"n":7,"b":1}\n')
            one.write([b'{"a":2}'])
            assert lines(path) == [b'{"n":0,"a":1}', b'{"n":1,"a":2}'], "they are not kept"
            return
    with pytest.raises(Tampered, match="somebody else"):
        one.write([b'{"a":2}'])
    with pytest.raises(Unavailable, match="another worker"):
        other.write([b'{"a":2}'])


@pytest.mark.threat("T-FULLDISK")
def test_a_batch_that_did_not_fit_is_gone_and_another_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one, other = pens(path, 2)
    one.write([b'{"a":1}'])
    with file_size_limit(60), pytest.raises(Unavailable, match="cannot be written"):
        one.write([b'{"a":"%b"}' % (b"x" * 100)])
    assert one.counters.announced() is None
    other.write([b'{"a":2}'])
    assert lines(path) == [b'{"n":0,"a":1}', b'{"n":1,"a":2}']


@pytest.mark.threat("T-FULLDISK")
def test_torn_bytes_that_could_not_be_cut_are_cut_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one, other = pens(path, 2)
    one.write([b'{"a":1}'])

    class Stubborn(LogFile):
        def cut(self, length: int) -> None:
            raise OSError(5, "Input/output error")

        def _roll_back(self) -> None:
            raise OSError(5, "Input/output error")

    one.file = Stubborn(path, one.file.descriptor)
    with file_size_limit(60), pytest.raises(Unavailable):
        one.write([b'{"a":"%b"}' % (b"x" * 100)])
    assert path.stat().st_size == 60
    other.write([b'{"a":2}'])
    assert lines(path) == [b'{"n":0,"a":1}', b'{"n":1,"a":2}']


def test_nobody_writes_out_of_turn(tmp_path: Path) -> None:
    one, other = pens(tmp_path / "log", 2)
    one.turn.take()
    with pytest.raises(BlockingIOError):
        other.write([b'{"a":1}'])
    with pytest.raises(BlockingIOError):
        other.look()
    one.turn.give()
    other.write([b'{"a":1}'])
    assert other.look() == (1, 14)


@pytest.mark.threat("T-FULLDISK")
def test_too_many_records_without_checkpoint_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNSIGNED_RECORDS", 2)
    one, other = pens(tmp_path / "log", 2)
    one.write([b'{"a":1}'] * 3)
    with pytest.raises(Unavailable, match="do not keep up"):
        other.write([b'{"a":2}'])
    one.counters.signed = 3
    other.write([b'{"a":2}'])
