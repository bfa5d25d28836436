"""The pen numbers without gap, whatever happens to a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.logfile import LogFile
from sekisho.audit.pen import SolePen, number
from sekisho.errors import Unavailable


@given(st.integers(0, 1 << 62), st.lists(st.sampled_from([b'{"a":1}', b'{"b":"x"}']), max_size=9))
def test_the_number_becomes_the_first_member(first: int, entries: list[bytes]) -> None:
    records = number(entries, first)
    assert records == [b'{"n":%d,' % (first + i) + entry[1:] for i, entry in enumerate(entries)]


class FullDisk(LogFile):
    """A disk that takes nothing while it is told so."""

    is_full = False

    def append(self, data: bytes) -> None:
        if self.is_full:
            raise Unavailable("log_unavailable", "full")
        super().append(data)


def test_a_batch_that_was_not_written_uses_no_number(tmp_path: Path) -> None:
    file = FullDisk.open_locked(tmp_path / "log")
    pen = SolePen(file, 0)
    assert pen.write([b'{"a":1}', b'{"a":2}']) == [b'{"n":0,"a":1}', b'{"n":1,"a":2}']
    file.is_full = True
    with pytest.raises(Unavailable):
        pen.write([b'{"a":3}'])
    file.is_full = False
    pen.write([b'{"a":4}'])
    pen.close()
    assert (tmp_path / "log").read_bytes() == b'{"n":0,"a":1}\n{"n":1,"a":2}\n{"n":2,"a":4}\n'
