"""What a fetch left is read as it lies there, or refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.errors import Refused
from sekisho.install.received import read_lock, read_wheels, take_over

WHEEL = "tool-1.0-py3-none-any.whl"


def test_a_lock_and_wheels_are_read(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(b"wheel")
    assert read_lock(tmp_path, WHEEL) == b"wheel"
    (found,) = read_wheels(tmp_path)
    assert (found.name, found.version, found.sha256) == ("tool", "1.0", hashlib.sha256(b"wheel").hexdigest())


def _link(path: Path) -> None:
    (path.parent.parent / "host").write_bytes(b"of the host")
    path.symlink_to("../host")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("attack", [_link, _pipe, _folder])
def test_what_is_no_file_is_neither_followed_nor_waited_for(
    tmp_path: Path, attack: Callable[[Path], None]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    attack(folder / WHEEL)
    with pytest.raises(Refused):
        read_lock(folder, WHEEL)
    with pytest.raises(Refused):
        list(read_wheels(folder))


@pytest.mark.parametrize("make", [_link, _pipe])
def test_what_is_no_folder_is_not_entered_or_taken_over(tmp_path: Path, make: Callable[[Path], None]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    make(work / "files")
    with pytest.raises(Refused):
        list(read_wheels(work / "files"))
    with pytest.raises(Refused):
        take_over(work / "files", tmp_path / "clean")
    with pytest.raises(Refused):
        read_lock(work / "gone", WHEEL)
    assert not (tmp_path / "clean").exists()


def test_a_folder_is_taken_over_with_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / WHEEL).touch()
    take_over(tmp_path / "files", tmp_path / "clean")
    assert (tmp_path / "clean" / WHEEL).exists()
