"""The shared counters: what stands is right after every single store, and an announcement cannot be mistaken."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.counters import Counters, Extent
from sekisho.errors import Unavailable


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    log = tmp_path / "log"
    log.touch()
    made = Counters.create(tmp_path / "log.counters")
    made.begin(log.stat(), Extent(3, 60), is_signed=True)
    yield made
    made.close()


def test_what_is_announced_stands_when_it_is_committed(counters: Counters) -> None:
    assert counters.standing() == (3, 60)
    assert counters.announced() is None
    for step in range(1, 6):
        base, extent = counters.standing(), Extent(3 + step, 60 + 20 * step)
        counters.announce(base.length, extent)
        assert counters.announced() == extent
        assert counters.standing() == base, "nothing changes before the commit"
        counters.commit()
        assert counters.standing() == extent
        assert counters.announced() is None, "what stood before is no announcement"


def test_a_withdrawn_announcement_is_none(counters: Counters) -> None:
    counters.announce(60, Extent(4, 80))
    counters.withdraw()
    assert counters.announced() is None
    assert counters.standing() == (3, 60)


def test_an_announcement_on_something_else_is_none(counters: Counters) -> None:
    counters.announce(40, Extent(4, 80))
    assert counters.announced() is None


@given(cut=st.integers(0, 31), records=st.integers(4, 1 << 40), length=st.integers(61, 1 << 50))
def test_half_an_announcement_changes_nothing_that_stands(
    tmp_path_factory: pytest.TempPathFactory, cut: int, records: int, length: int
) -> None:
    folder = tmp_path_factory.mktemp("counters")
    (folder / "log").touch()
    whole, half = Counters.create(folder / "whole"), Counters.create(folder / "half")
    for one in (whole, half):
        one.begin((folder / "log").stat(), Extent(3, 60), is_signed=True)
    whole.announce(60, Extent(records, length))
    slot = (folder / "whole").read_bytes()[128:160]
    with (folder / "half").open("r+b") as file:
        file.seek(128)
        file.write(slot[:cut])
    assert half.standing() == (3, 60)
    assert half.announced() in (None, Extent(records, length))
    whole.close()
    half.close()


def test_all_processes_see_the_same(counters: Counters, tmp_path: Path) -> None:
    other = Counters.attach(tmp_path / "log.counters")
    counters.announce(60, Extent(4, 80))
    assert other.announced() == (4, 80)
    other.commit()
    assert counters.standing() == (4, 80)
    assert (other.is_ready, other.is_stopped, other.signed, other.is_signed) == (False, False, 0, True)
    counters.is_ready, counters.signed = True, 2
    counters.stop()
    assert (other.is_ready, other.is_stopped, other.signed) == (True, True, 2)
    other.close()


def test_counters_belong_to_one_file(counters: Counters, tmp_path: Path) -> None:
    assert counters.counts((tmp_path / "log").stat())
    (tmp_path / "another").touch()
    assert not counters.counts((tmp_path / "another").stat())


def test_counters_that_nobody_began_count_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no leader"):
        Counters.attach(tmp_path / "absent")
    (tmp_path / "empty").touch()
    with pytest.raises(Unavailable, match="no leader"):
        Counters.attach(tmp_path / "empty")
    made = Counters.create(tmp_path / "empty")
    assert not made.counts(tmp_path.stat())
    assert not made.is_ready
    assert made.announced() is None
    made.close()


def test_the_commit_is_one_byte(counters: Counters, tmp_path: Path) -> None:
    counters.announce(60, Extent(4, 80))
    before = (tmp_path / "log.counters").read_bytes()
    counters.commit()
    after = (tmp_path / "log.counters").read_bytes()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert struct.calcsize("=QQQQ") == 32
    assert (tmp_path / "log.counters").stat().st_mode & 0o777 == 0o600
    assert os.fstat(counters.descriptor).st_size == len(after)
