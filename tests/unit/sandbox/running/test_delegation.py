"""What is moved in a delegated control group, on folders that look like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.sandbox.running.delegation import LEAF, is_delegated, make_room


def marked(folder: Path, mark: str, value: bytes) -> Path:
    try:
        os.setxattr(folder, mark, value)
    except OSError as error:
        pytest.skip(f"no such attribute can be set here: {error}")
    return folder


def test_a_group_is_delegated_when_systemd_says_so(tmp_path: Path) -> None:
    assert not is_delegated(tmp_path)
    assert is_delegated(marked(tmp_path, "user.delegate", b"1"))
    assert not is_delegated(marked(tmp_path, "user.delegate", b"0"))


def test_a_group_that_is_gone_is_not_delegated(tmp_path: Path) -> None:
    assert not is_delegated(tmp_path / "gone")


def test_a_group_without_processes_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("")
    make_room(tmp_path)
    assert not (tmp_path / LEAF).exists()


def test_a_group_whose_processes_cannot_be_listed_is_left_as_it_is(tmp_path: Path) -> None:
    make_room(tmp_path)
    assert not (tmp_path / LEAF).exists()


def test_every_process_is_moved_and_one_that_never_leaves_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("7\n8\n")  # a file, which nobody ever leaves
    make_room(tmp_path)
    assert (tmp_path / LEAF / "cgroup.procs").read_text() == "8"
