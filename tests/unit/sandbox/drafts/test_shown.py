"""One digest stands for everything that was shown: whatever else would be kept has another one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ticking import let_the_clock_move_on

from sekisho.errors import Refused
from sekisho.sandbox.drafts.changes import changes_of
from sekisho.sandbox.drafts.draft import Draft, Drafts
from sekisho.sandbox.drafts.shown import MAX_PLAIN_BYTES, content_of, digest_of
from sekisho.sandbox.drafts.transaction import keep


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    place = tmp_path.resolve()
    folder = place / "folder"
    folder.mkdir()
    for name in ("file", "mode", "gone"):
        (folder / name).write_text("old")
    let_the_clock_move_on(place)
    drafts = Drafts(place / "drafts" / "p")
    draft = drafts.of(str(folder))
    draft.make_ready(None)
    (draft.upper / "file").write_text("new")
    (draft.upper / "link").symlink_to("file")
    (draft.upper / "mode").write_text("old")
    (draft.upper / "mode").chmod(0o600)
    return drafts


def digest(drafts: Drafts) -> str:
    return digest_of([(draft, changes_of(draft)) for draft in drafts.all()])


def upper(drafts: Drafts) -> Path:
    (draft,) = drafts.all()
    return draft.upper


def _turned(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def _made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "other content of the same length": lambda upper: (upper / "file").write_text("n3w"),
    "another mode": lambda upper: (upper / "file").chmod(0o755),
    "content under a change of mode": lambda upper: (upper / "mode").write_text("0ld"),
    "another target": lambda upper: _turned(upper / "link", "mode"),
    "one more file": lambda upper: (upper / "more").write_text(""),
    "another name": lambda upper: (upper / "file").rename(upper / "file2"),
    "a folder instead": lambda upper: _made_a_folder(upper / "file"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_written_after_it_was_shown_is_noticed_and_nothing_kept(
    drafts: Drafts, name: str
) -> None:
    shown = digest(drafts)
    CHANGES[name](upper(drafts))
    assert digest(drafts) != shown
    with pytest.raises(Refused, match="not what was shown"):
        keep(drafts, seen=shown)
    (draft,) = drafts.all()
    assert Path(draft.folder, "file").read_text() == "old"


def test_what_stayed_as_it_was_shown_is_kept(drafts: Drafts) -> None:
    (draft,) = drafts.all()
    assert keep(drafts, seen=digest(drafts)) == 3
    assert Path(draft.folder, "file").read_text() == "new"


def test_a_draft_that_was_emptied_meanwhile_is_not_what_was_shown(drafts: Drafts) -> None:
    shown = digest(drafts)
    (draft,) = drafts.all()
    for name in ("file", "link", "mode"):
        (draft.upper / name).unlink()
    with pytest.raises(Refused, match="not what was shown"):
        keep(drafts, seen=shown)


def test_a_short_file_is_read_once_for_its_digest_and_its_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    read = content_of(str(tmp_path.resolve()), "a", 4)
    assert (read.data, read.digest) == (b"text", f"sha256:{hashlib.sha256(b'text').hexdigest()}")
    assert content_of(str(tmp_path.resolve()), "a", 3).data is None
    assert content_of(str(tmp_path.resolve()), "a", 3).digest == read.digest


@pytest.mark.threat("T-FLOOD")
def test_a_file_of_holes_costs_what_it_holds_and_every_byte_of_it_counts(tmp_path: Path) -> None:
    path, size = tmp_path / "holes", 1 << 42
    path.touch()
    os.truncate(path, size)
    empty = content_of(str(tmp_path.resolve()), "holes", 0)
    with path.open("r+b") as file:
        file.seek(size - 3)
        file.write(b"x")
    filled = content_of(str(tmp_path.resolve()), "holes", 0)
    os.truncate(path, MAX_PLAIN_BYTES + 1)
    assert len({empty.digest, filled.digest, content_of(str(tmp_path.resolve()), "holes", 0).digest}) == 3


def test_what_cannot_be_read_is_told_as_that(tmp_path: Path) -> None:
    assert content_of(str(tmp_path.resolve()), "nothing", 0).digest == "not read"


def test_the_folder_of_a_change_counts(drafts: Drafts, tmp_path: Path) -> None:
    (draft,) = drafts.all()
    changes = changes_of(draft)
    other = Draft(place=draft.place, folder=str(tmp_path))
    assert digest_of([(draft, changes)]) != digest_of([(other, changes)])
