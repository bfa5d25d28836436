"""One at a time, and whoever waits comes next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.errors import Unavailable
from sekisho.sandbox.drafts.draft import Drafts, write_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A granted folder."""
    folder = tmp_path.resolve() / "folder"
    folder.mkdir(mode=0o750)
    return folder


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    """A plugin's drafts."""
    return Drafts(tmp_path.resolve() / "drafts" / "plugin")


def test_a_draft_looks_like_the_folder_it_is_for(drafts: Drafts, folder: Path) -> None:
    draft = drafts.of(str(folder))
    draft.make_ready(None)
    draft.make_ready(None)
    assert draft.upper.stat().st_mode & 0o777 == 0o750
    assert draft.place.stat().st_mode & 0o777 == 0o700
    assert drafts.all() == (draft,)


def test_a_folder_that_is_a_link_by_now_gets_no_draft(drafts: Drafts, folder: Path) -> None:
    folder.rmdir()
    folder.symlink_to("/etc")
    with pytest.raises(OSError, match="folder"):
        drafts.of(str(folder)).make_ready(None)


def test_a_name_of_any_bytes_is_remembered(drafts: Drafts, folder: Path) -> None:
    strange = os.fsdecode(os.fsencode(folder) + b"/\xff\n\xe2\x80\xae")
    Path(strange).mkdir()
    drafts.of(strange).make_ready(None)
    assert [draft.folder for draft in drafts.all()] == [strange]


def test_an_emptied_draft_is_fresh_and_leaves_nothing(drafts: Drafts, folder: Path) -> None:
    draft = drafts.of(str(folder))
    draft.make_ready(None)
    (draft.upper / "folder" / "deep").mkdir(parents=True)
    (draft.upper / "folder").chmod(0)
    draft.empty()
    assert [path.name for path in draft.place.iterdir()] == ["folder"]
    assert draft.began_ns > 0


def test_a_draft_whose_folder_was_forgotten_learns_it_again(drafts: Drafts, folder: Path) -> None:
    draft = drafts.of(str(folder))
    draft.make_ready(None)
    (draft.place / "folder").write_bytes(b"")
    draft.make_ready(None)
    assert drafts.all() == (draft,)


def test_a_file_is_replaced_whole_or_not_at_all(folder: Path) -> None:
    write_whole(folder / "file", b"old")
    (folder / "file.new").mkdir()
    with pytest.raises(OSError, match=r"file\.new"):
        write_whole(folder / "file", b"new")
    assert (folder / "file").read_bytes() == b"old"
    (folder / "file.new").rmdir()
    write_whole(folder / "file", b"new")
    assert [path.read_bytes() for path in folder.iterdir()] == [b"new"]


def test_while_a_sandbox_has_them_nobody_else_does(drafts: Drafts) -> None:
    held = drafts.take()
    with pytest.raises(Unavailable):
        drafts.take()
    with pytest.raises(Unavailable, match="runs"), drafts.turn(wait_s=0):
        pass
    os.close(held)
    with drafts.turn(wait_s=0):
        is_wanted = drafts.is_wanted
        assert is_wanted
        with pytest.raises(Unavailable):
            drafts.take()
    is_wanted = drafts.is_wanted
    assert not is_wanted
    os.close(drafts.take())
