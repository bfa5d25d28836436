"""Each step may be carried out twice, and none leads out of its folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Unavailable
from sekisho.sandbox.drafts.beneath import open_root, opened
from sekisho.sandbox.drafts.steps import carry_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a stage in it."""
    folder = tmp_path.resolve() / "folder"
    (folder / "stage").mkdir(parents=True)
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("old")
    return folder


def twice(folder: Path, *step: Any) -> None:
    with opened(open_root(str(folder))) as lower:
        for _ in range(2):
            carry_out(lower, "stage", step)


def test_a_step_that_was_done_does_nothing(folder: Path) -> None:
    (folder / "stage" / "0").write_text("new")
    twice(folder, "place", "0", "sub/file")
    assert (folder / "sub" / "file").read_text() == "new"
    twice(folder, "chmod", "sub/file", 0o600)
    assert (folder / "sub" / "file").stat().st_mode & 0o777 == 0o600
    twice(folder, "unlink", "sub/file")
    twice(folder, "rmdir", "sub")
    twice(folder, "mkdir", "made", -1, -1)
    assert sorted(path.name for path in folder.iterdir()) == ["made", "stage"]


def test_what_made_room_for_another_kind_of_thing_is_left_alone(folder: Path) -> None:
    twice(folder, "unlink", "sub")
    twice(folder, "rmdir", "sub/file")
    twice(folder, "unlink", "sub/file/below")
    assert (folder / "sub" / "file").read_text() == "old"


def test_a_folder_that_is_not_empty_stays(folder: Path) -> None:
    twice(folder, "rmdir", "sub")
    assert (folder / "sub" / "file").exists()


def test_a_folder_that_somebody_removed_is_made_again_for_what_belongs_there(folder: Path) -> None:
    (folder / "stage" / "0").write_text("new")
    twice(folder, "place", "0", "gone/deep/file")
    assert (folder / "gone" / "deep" / "file").read_text() == "new"


@pytest.mark.parametrize(
    "step",
    [
        ("unlink", "link/file"),
        ("rmdir", "link/inner"),
        ("chmod", "link/file", 0o777),
        ("chmod", "link", 0o777),
        ("mkdir", "link/new", -1, -1),
        ("place", "0", "link/file"),
        ("place", "0", "../beside/file"),
        ("unlink", "../beside/file"),
    ],
)
def test_no_step_goes_through_a_link_or_upwards(folder: Path, step: tuple[Any, ...]) -> None:
    beside = folder.parent / "beside"
    (beside / "inner").mkdir(parents=True)
    (beside / "file").write_text("theirs")
    (beside / "file").chmod(0o644)
    (folder / "link").symlink_to(beside)
    (folder / "stage" / "0").write_text("new")
    with contextlib.suppress(OSError):  # refused; a step that does nothing is as good
        twice(folder, *step)
    assert sorted(path.name for path in beside.iterdir()) == ["file", "inner"]
    assert (beside / "file").read_text() == "theirs"
    assert (beside / "file").stat().st_mode & 0o777 == 0o644


def test_a_step_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(Unavailable, match="unknown"):
        twice(folder, "format", "disk")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_new_folder_is_given_away_and_what_stands_in_its_place_is_not(folder: Path) -> None:
    twice(folder, "mkdir", "made", 65_534, 65_534)
    assert (folder / "made").stat().st_uid == 65_534
    twice(
        folder, "mkdir", "sub", 65_534, 65_534
    )  # moved there meanwhile by whoever owns the folder around it
    twice(folder, "mkdir", "sub/file", 65_534, 65_534)
    assert (folder / "sub").stat().st_uid == 0
    assert (folder / "sub" / "file").stat().st_uid == 0
