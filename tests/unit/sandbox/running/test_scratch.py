"""A private folder and its end, whatever a plugin made of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sekisho.sandbox.running.scratch import SCRATCH_FOLDERS, make_scratch, remove_scratch, sweep_folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made, held = make_scratch("notes", tmp_path.resolve())
    os.close(held)
    return made


def test_nobody_else_may_look_into_it(folder: Path) -> None:
    for path in (folder, folder / "home", folder / "tmp"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_it_is_removed_with_locked_folders_and_links_that_lead_out(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (folder / "tmp" / "link").symlink_to(outside)
    deep = folder / "home" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")
    deep.chmod(0)
    (folder / "home" / "a").chmod(0)
    assert remove_scratch(folder)
    assert not folder.exists()
    assert (outside / "file").read_text() == "kept"


def test_removing_it_twice_is_no_loss(folder: Path) -> None:
    assert remove_scratch(folder)
    assert remove_scratch(folder)


def test_what_a_killed_owner_left_is_swept_away_and_what_is_held_stays(tmp_path: Path) -> None:
    place = tmp_path.resolve()
    left, nobody = make_scratch("left", place)
    (left / "home" / "x").write_text("x")
    held, somebody = make_scratch("held", place)
    outside = place / "precious"
    outside.mkdir()
    (place / f"{SCRATCH_FOLDERS}link").symlink_to(outside)
    os.close(nobody)  # as the kernel does at the end of a process
    sweep_folders(SCRATCH_FOLDERS, place)
    assert not left.exists()
    assert held.exists()
    assert outside.exists()
    os.close(somebody)
    sweep_folders(SCRATCH_FOLDERS, place)
    assert not held.exists()
