"""A journal is written whole, read back the same, and believed only where it fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.errors import Unavailable
from sekisho.sandbox.drafts.draft import Drafts
from sekisho.sandbox.drafts.journal import Root, read_journal, remove_journal, write_journal


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    """No draft yet, but a place for them."""
    drafts = Drafts(tmp_path.resolve() / "drafts")
    drafts.place.mkdir()
    return drafts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A granted folder."""
    made = tmp_path.resolve() / "folder"
    made.mkdir()
    return made


def test_what_was_written_is_read_until_it_is_removed(drafts: Drafts, folder: Path) -> None:
    assert read_journal(drafts) == ("", [])
    root = Root.begin(str(folder))
    write_journal(drafts, "preparing", [root])
    write_journal(drafts, "ready", [root])
    state, (found,) = read_journal(drafts)
    assert (state, found.folder, found.identity, found.stage) == (
        "ready", root.folder, root.identity, root.stage,
    )  # fmt: skip
    remove_journal(drafts)
    assert read_journal(drafts) == ("", [])


@pytest.mark.parametrize("text", ["{}", "[", '{"state": "ready", "roots": [{}]}'])
def test_a_journal_that_is_none_is_refused(drafts: Drafts, text: str) -> None:
    (drafts.place / "journal.json").write_text(text)
    with pytest.raises(Unavailable, match="journal"):
        read_journal(drafts)


def test_no_two_stages_have_one_name(folder: Path) -> None:
    assert Root.begin(str(folder)).stage != Root.begin(str(folder)).stage


def test_another_folder_of_the_same_name_is_not_opened(folder: Path) -> None:
    root = Root.begin(str(folder))
    folder.rename(folder.with_name("aside"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        root.open()
    folder.mkdir()
    with pytest.raises(Unavailable, match="another folder"):
        root.open()


def test_a_stage_is_removed_with_all_that_is_in_it_and_may_be_gone_already(folder: Path) -> None:
    root = Root.begin(str(folder))
    (folder / root.stage / "sub").mkdir(parents=True)
    for _ in range(2):
        root.remove_stage()
        assert list(folder.iterdir()) == []
