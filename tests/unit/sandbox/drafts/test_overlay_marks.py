"""The marks of overlayfs: believed where the kernel set them, told apart where it did not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sekisho.sandbox.drafts.beneath import open_root, opened
from sekisho.sandbox.drafts.overlay_marks import OPAQUE, is_whiteout, marks_of, strange_marks


def marks(folder: Path, name: str) -> tuple[str, ...]:
    with opened(open_root(str(folder.resolve()))) as fd:
        return marks_of(fd, name, "file" if (folder / name).is_file() else "folder")


def test_a_deleted_name_is_told_from_a_file_and_from_a_device(tmp_path: Path) -> None:
    os.mknod(tmp_path / "deleted", stat.S_IFCHR, 0)
    (tmp_path / "file").write_text("x")
    assert is_whiteout((tmp_path / "deleted").stat())
    assert not is_whiteout((tmp_path / "file").stat())
    assert not is_whiteout(Path("/dev/null").stat())


def test_a_folder_that_hides_what_is_below_is_no_reason_for_suspicion(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    os.setxattr(tmp_path / "sub", OPAQUE, b"y")
    assert OPAQUE in marks(tmp_path, "sub")
    assert strange_marks(marks(tmp_path, "sub")) == []


@pytest.mark.parametrize("name", ["redirect", "metacopy", "whiteout"])
def test_what_the_kernel_does_not_set_here_is_strange(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    os.setxattr(tmp_path / "file", f"user.overlay.{name}", b"/etc")
    assert strange_marks(marks(tmp_path, "file")) == [f"user.overlay.{name}"]


def test_an_opaque_mark_of_another_kind_is_strange(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    os.setxattr(tmp_path / "sub", OPAQUE, b"x")
    assert strange_marks(marks(tmp_path, "sub")) == [OPAQUE + "=x"]


def test_a_plugins_own_attributes_are_no_marks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("user.comment", "user.overlay.overlay.redirect"):
        os.setxattr(tmp_path / "file", name, b"x")
    assert marks(tmp_path, "file") == ()
