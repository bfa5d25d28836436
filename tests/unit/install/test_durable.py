"""A file is the old one or the new one, and a reader takes no more than it can hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.install import durable
from sekisho.install.durable import read_file, replace_file


def test_a_file_is_replaced_as_a_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "note"
    for content in (b"a long first content", b"second", b""):
        replace_file(path, content)
        assert read_file(path) == content
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "note"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"new")
        assert reader.read() == b"old"


def test_where_a_file_cannot_be_replaced_no_draft_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "note"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "MAX_FILE_BYTES", 4)
    (tmp_path / "note").write_bytes(b"123456")
    assert read_file(tmp_path / "note") == b"1234"
