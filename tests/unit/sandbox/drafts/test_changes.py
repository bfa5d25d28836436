"""What a draft says, written by hand the way the kernel writes it; the kernel's own stand in tests/real."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.ticking import let_the_clock_move_on

from sekisho.errors import Refused, Unavailable
from sekisho.sandbox.drafts import changes
from sekisho.sandbox.drafts.changes import Change, changes_of
from sekisho.sandbox.drafts.draft import Draft, Drafts


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """A draft over a folder with a few files, none of them changed."""
    folder = tmp_path.resolve() / "folder"
    (folder / "sub" / "deep").mkdir(parents=True)
    for name in ("a", "b", "sub/c", "sub/deep/d"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to("a")
    draft = Drafts(tmp_path.resolve() / "drafts" / "p").of(str(folder))
    draft.make_ready(None)
    let_the_clock_move_on(tmp_path)
    return draft


def delete(draft: Draft, path: str) -> None:
    """As overlayfs does."""
    os.mknod(draft.upper / path, stat.S_IFCHR, 0)


def told(draft: Draft) -> dict[str, Change]:
    return {one.path: one for one in changes_of(draft)}


def test_a_draft_that_was_never_begun_says_nothing(tmp_path: Path) -> None:
    assert changes_of(Draft(tmp_path / "none", "/")) == ()


def test_what_is_new_changed_and_gone_is_told(draft: Draft) -> None:
    (draft.upper / "new").write_text("new")
    (draft.upper / "a").write_text("other")
    (draft.upper / "sub").mkdir()
    (draft.upper / "sub" / "folder").mkdir(mode=0o700)
    delete(draft, "b")
    delete(draft, "sub/c")
    found = told(draft)
    assert {path: (one.what, one.kind) for path, one in found.items()} == {
        "a": ("changed", "file"),
        "b": ("deleted", "file"),
        "new": ("added", "file"),
        "sub/c": ("deleted", "file"),
        "sub/folder": ("added", "folder"),
    }
    assert not any(one.refused for one in found.values())
    assert found["sub/folder"].mode == 0o700


def test_what_was_only_touched_is_no_change(draft: Draft) -> None:
    (draft.upper / "a").write_text("a")
    (draft.upper / "sub" / "deep").mkdir(parents=True)
    (draft.upper / "link").symlink_to("a")
    delete(draft, "never there")
    assert changes_of(draft) == ()


def test_a_change_of_mode_is_told_and_set_uid_bits_are_not_part_of_one(draft: Draft) -> None:
    (draft.upper / "a").write_text("a")
    (draft.upper / "a").chmod(0o755)
    (draft.upper / "b").write_text("b")
    (draft.upper / "b").chmod(0o6644)
    (found,) = changes_of(draft)
    assert (found.path, found.mode, found.old_mode, found.is_content_new) == ("a", 0o755, 0o644, False)


def test_every_file_of_a_folder_that_is_gone_is_told(draft: Draft) -> None:
    delete(draft, "sub")
    assert list(told(draft)) == ["sub", "sub/c", "sub/deep", "sub/deep/d"]
    assert {one.what for one in changes_of(draft)} == {"deleted"}


def test_a_folder_in_the_place_of_one_hides_what_was_in_it(draft: Draft) -> None:
    (draft.upper / "sub").mkdir()
    os.setxattr(draft.upper / "sub", "user.overlay.opaque", b"y")
    (draft.upper / "sub" / "c").write_text("other")
    found = told(draft)
    assert {path: one.what for path, one in found.items()} == {
        "sub/c": "changed",
        "sub/deep": "deleted",
        "sub/deep/d": "deleted",
    }


def test_another_kind_of_thing_in_the_place_of_one_is_told(draft: Draft) -> None:
    (draft.upper / "sub").write_text("a file now")
    (draft.upper / "a").mkdir()
    (draft.upper / "b").symlink_to("a")
    found = told(draft)
    assert (found["sub"].was, found["sub"].kind) == ("folder", "file")
    assert found["sub/deep/d"].what == "deleted"
    assert (found["a"].was, found["a"].kind) == ("file", "folder")
    assert (found["b"].was, found["b"].target) == ("file", "a")


def test_links_that_lead_out_are_refused_and_others_not(draft: Draft) -> None:
    (draft.upper / "out").symlink_to("/etc/passwd")
    (draft.upper / "up").symlink_to("../beside")
    (draft.upper / "through").symlink_to("hop/x")
    (draft.upper / "hop").symlink_to("/etc")
    (draft.upper / "fine").symlink_to("sub/deep/d")
    found = told(draft)
    assert {path for path, one in found.items() if one.refused} == {"out", "up", "through", "hop"}


def test_a_link_through_one_that_was_there_before_is_judged_by_where_that_leads(draft: Draft) -> None:
    Path(draft.folder, "hosts").symlink_to("/etc")
    (draft.upper / "through").symlink_to("hosts/passwd")
    assert told(draft)["through"].refused
    delete(draft, "hosts")  # gone in the draft: then the name leads nowhere
    assert not told(draft)["through"].refused


def test_what_is_no_file_is_refused(draft: Draft) -> None:
    os.mkfifo(draft.upper / "pipe")
    assert told(draft)["pipe"].refused


@pytest.mark.parametrize("mark", ["redirect", "metacopy", "whiteout", "opaque=x"])
def test_a_mark_that_the_kernel_did_not_set_is_refused(draft: Draft, mark: str) -> None:
    name, _, value = mark.partition("=")
    (draft.upper / "sub").mkdir()
    os.setxattr(draft.upper / "sub", f"user.overlay.{name}", value.encode() or b"/etc")
    assert told(draft)["sub"].refused


def test_marks_of_the_kernel_and_of_the_plugins_own_are_no_reason(draft: Draft) -> None:
    (draft.upper / "new").write_text("x")
    for name in ("user.overlay.origin", "user.overlay.overlay.redirect", "user.comment"):
        os.setxattr(draft.upper / "new", name, b"x")
    assert not told(draft)["new"].refused


def test_what_somebody_else_changed_since_is_a_conflict(draft: Draft) -> None:
    (draft.upper / "a").write_text("the plugin's")
    delete(draft, "b")
    assert not any(one.conflict for one in changes_of(draft))
    Path(draft.folder, "a").write_text("somebody's")
    Path(draft.folder, "b").write_text("somebody's")
    Path(draft.folder, "sub", "beside").write_text("somebody's")
    assert {path for path, one in told(draft).items() if one.conflict} == {"a", "b"}


def test_names_that_look_alike_are_pointed_out(draft: Draft) -> None:
    (draft.upper / "A").write_text("x")
    (draft.upper / "new").write_text("x")
    found = told(draft)
    assert "'a'" in found["A"].note
    assert not found["new"].note


def test_too_much_is_refused_as_a_whole(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_ENTRIES", 6)
    for name in ("sub", "x", "y"):
        (draft.upper / name).mkdir()
    with pytest.raises(Refused, match="more than 6"):
        changes_of(draft)
    monkeypatch.undo()
    here = draft.upper
    for _ in range(changes.MAX_DEPTH + 2):
        here /= "d"
        here.mkdir()
    with pytest.raises(Refused, match="deep"):
        changes_of(draft)


def test_a_folder_that_is_gone_is_said(draft: Draft) -> None:
    Path(draft.folder).rename(draft.folder + ".old")
    with pytest.raises(Unavailable, match="compared"):
        changes_of(draft)
