"""Copies wait beside their places; nothing that anybody looks at has changed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sekisho.sandbox.drafts.changes import changes_of
from sekisho.sandbox.drafts.copies import prepared
from sekisho.sandbox.drafts.draft import Draft, Drafts
from sekisho.sandbox.drafts.journal import Root
from sekisho.sandbox.drafts.shown import MAX_PLAIN_BYTES, Shown, digest_of


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """A draft over a folder with one file."""
    folder = tmp_path.resolve() / "folder"
    folder.mkdir()
    (folder / "file").write_text("old")
    draft = Drafts(tmp_path.resolve() / "drafts" / "p").of(str(folder))
    draft.make_ready(None)
    return draft


def copied(draft: Draft) -> Root:
    return prepared(draft, changes_of(draft), Root.begin(draft.folder), lambda name: None)


def test_the_folder_is_as_it_was_and_the_copies_are_in_the_stage(draft: Draft) -> None:
    (draft.upper / "file").write_text("new")
    root = copied(draft)
    assert Path(draft.folder, "file").read_text() == "old"
    assert Path(draft.folder, root.stage, "0").read_text() == "new"
    assert root.steps == [["place", "0", "file"]]


def test_a_copy_has_the_mode_and_no_bit_that_lends_rights(draft: Draft) -> None:
    (draft.upper / "tool").write_text("#!/bin/sh\n")
    (draft.upper / "tool").chmod(0o6755)
    root = copied(draft)
    assert stat.S_IMODE(Path(draft.folder, root.stage, "0").stat().st_mode) == 0o755


def test_a_change_of_mode_alone_copies_nothing(draft: Draft) -> None:
    (draft.upper / "file").write_text("old")
    (draft.upper / "file").chmod(0o600)
    root = copied(draft)
    assert root.steps == [["chmod", "file", 0o600]]
    assert list(Path(draft.folder, root.stage).iterdir()) == []


def test_a_hole_stays_one(draft: Draft) -> None:
    with (draft.upper / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"x")
    root = copied(draft)
    copy = Path(draft.folder, root.stage, "0").stat()
    assert copy.st_size == 1 << 40
    assert copy.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("size", [0, 5, MAX_PLAIN_BYTES, MAX_PLAIN_BYTES + 1, 1 << 40])
def test_what_is_told_of_a_copy_is_what_was_shown_of_it(draft: Draft, size: int) -> None:
    with (draft.upper / "sparse").open("wb") as file:
        file.truncate(size)
        if size > 5:
            file.seek(1 << 20)
            file.write(b"x")
    (draft.upper / "file").write_text("old")  # of which the mode alone is another
    (draft.upper / "file").chmod(0o600)
    (draft.upper / "link").symlink_to("file")
    told, changes = Shown(), changes_of(draft)
    prepared(draft, changes, Root.begin(draft.folder), lambda name: None, told)
    assert told.digest == digest_of([(draft, changes)])
