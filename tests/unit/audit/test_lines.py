"""Records of a file, forward and from the end."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.lines import MAX_LINE_BYTES, numbered, read_records, tail
from sekisho.errors import Unavailable

RECORDS = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")), max_size=20)


@given(RECORDS, st.binary(max_size=10).map(lambda data: data.replace(b"\n", b"")))
def test_whole_records_and_the_torn_end_are_told_apart(records: list[bytes], torn: bytes) -> None:
    data = b"".join(record + b"\n" for record in records) + torn
    expected = [(record, True) for record in records] + ([(torn, False)] if torn else [])
    assert list(read_records(BytesIO(data))) == expected


def test_a_line_that_is_too_long_is_torn_and_ends_the_reading() -> None:
    longest = b"x" * (MAX_LINE_BYTES - 1)
    found = list(read_records(BytesIO(longest + b"\n" + longest + b"y\nafter\n")))
    assert [(len(record), whole) for record, whole in found] == [(65_535, True), (65_536, False)]


def test_the_number_of_a_record_is_read_from_its_first_bytes() -> None:
    assert numbered(b'{"n":7,"v":1}', 7)
    assert not numbered(b'{"n":77,"v":1}', 7)
    assert not numbered(b'{"v":1,"n":7}', 7)


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 101, 5000])
def test_tail_gives_the_last_records_oldest_first(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(
        b"".join(b'{"n":%d,"x":"%b"}\n' % (i, b"y" * (i * 37 % 9000)) for i in range(100)) + b'{"n":100'
    )
    assert [record["n"] for record in tail(path, count)] == list(range(100))[max(0, 100 - count) :]


def test_tail_leaves_out_what_is_not_a_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"n":0}\nnonsense\n[1]\n{"n":1}\n')
    assert [record["n"] for record in tail(path, 4)] == [0, 1]
    path.write_bytes(b"")
    assert tail(path, 4) == []


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
)
def test_tail_survives_lines_an_intruder_wrote(tmp_path: Path, hostile: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"n":0}\n' + hostile + b'\n{"n":2}\n')
    assert tail(path, 3) == [{"n": 0}, {"n": 2}]


def test_tail_of_a_file_without_line_ends_stays_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (MAX_LINE_BYTES * 4))
    assert tail(path, 1) == []


def test_tail_of_an_absent_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        tail(tmp_path / "absent", 1)


def test_a_log_that_is_not_there_yet_is_not_told_to_free_space(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as absent:
        tail(tmp_path / "log.jsonl", 1)
    assert "nothing was recorded there yet" in (absent.value.remedy or "")
    with pytest.raises(Unavailable) as folder:
        tail(tmp_path, 1)
    assert folder.value.remedy == "check its owner and the disk"
