"""Names a plugin made lead nowhere but where they stand."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sekisho.sandbox.drafts.beneath import (
    birth_ns,
    entered,
    entries,
    open_beneath,
    open_file,
    open_root,
    opened,
    parent_and_name,
    remove_tree,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a folder in it, and one beside it."""
    real = tmp_path.resolve()
    (real / "folder" / "inner").mkdir(parents=True)
    (real / "folder" / "inner" / "file").write_text("content")
    (real / "beside").mkdir()
    (real / "beside" / "file").write_text("secret")
    return real / "folder"


def test_what_is_below_is_opened_and_what_is_not_is_refused(root: Path) -> None:
    (root / "link").symlink_to("../beside")
    (root / "self").symlink_to("inner")
    with opened(open_root(str(root))) as folder:
        with opened(open_beneath(folder, "inner")) as inner:
            assert list(entries(inner, 2)) == ["file"]
        with parent_and_name(folder, "inner/file") as (above, name):
            assert os.fstat(above).st_ino == (root / "inner").stat().st_ino
            assert name == "file"
        for path in ("link", "self", "link/file", "../beside", "inner/../../beside", "/etc"):
            with pytest.raises(OSError, match=r"."):
                open_beneath(folder, path)


def test_a_root_with_a_link_on_its_way_is_refused(root: Path) -> None:
    (root.parent / "other").symlink_to(root)
    with pytest.raises(OSError, match="other"):
        open_root(str(root.parent / "other"))
    with pytest.raises(OSError, match="other"):
        open_root(str(root.parent / "other" / "inner"))


def test_a_pipe_in_the_place_of_a_file_blocks_nobody(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with opened(open_root(str(root))) as folder, pytest.raises(OSError, match="pipe"):
        open_file(folder, "pipe")


def test_things_of_ours_that_their_mode_closes_are_read_and_keep_their_mode(root: Path) -> None:
    (root / "inner" / "file").chmod(0)
    (root / "inner").chmod(0)
    with (
        opened(open_root(str(root))) as folder,
        entered(folder, "inner") as inner,
        opened(open_file(inner, "file")) as file,
    ):
        assert os.read(file, 100) == b"content"
        assert os.stat("file", dir_fd=inner).st_mode & 0o777 == 0
    assert (root / "inner").stat().st_mode & 0o777 == 0
    (root / "inner").chmod(0o700)


def test_entries_are_bounded(root: Path) -> None:
    for number in range(5):
        (root / str(number)).touch()
    with opened(open_root(str(root))) as folder:
        assert list(entries(folder, 6)) == ["0", "1", "2", "3", "4", "inner"]
        with pytest.raises(OSError, match="too many"):
            entries(folder, 5)


def test_a_birth_is_told_and_is_not_before_the_folder_was_made(root: Path) -> None:
    with opened(open_root(str(root))) as folder:
        born = birth_ns(folder, "inner")
        assert born is None or born > 0
        assert birth_ns(folder, "nothing") is None


def test_a_tree_is_removed_whatever_it_holds_and_nothing_beside_it(root: Path) -> None:
    deep = root
    with opened(open_root(str(root))) as start:
        here = os.dup(start)
        for _ in range(3000):  # deeper than a path is long, and than Python recurses
            os.mkdir("d", dir_fd=here)
            there = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = there
        os.close(here)
    (deep / "out").symlink_to("../beside")
    (deep / "inner" / "closed").mkdir(mode=0)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(deep / "socket"))
    with opened(open_root(str(root.parent))) as above:
        remove_tree(above, "folder")
        remove_tree(above, "folder")
    assert sorted(path.name for path in root.parent.iterdir()) == ["beside"]
    assert (root.parent / "beside" / "file").read_text() == "secret"
