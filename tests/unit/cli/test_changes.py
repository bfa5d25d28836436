"""`sekisho changes`: everything a plugin wrote, nothing hidden, and one decision."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
from tests.ticking import let_the_clock_move_on
from tests.unit.cli.conftest import Type

from sekisho.assembly.housing import drafts_of
from sekisho.assembly.places import Places
from sekisho.cli import changes
from sekisho.sandbox.drafts.draft import Draft, Drafts
from sekisho.sandbox.drafts.transaction import keep


@pytest.fixture
def draft(home: Path) -> Draft:
    """What the plugin `notes` wrote."""
    folder = home.parent.resolve() / "folder"
    folder.mkdir()
    for name in ("changed.txt", "gone.txt"):
        (folder / name).write_text("old\n")
    draft = drafts_of(Places(home=home, config=home.parent / "sekisho.toml"), "notes").of(str(folder))
    draft.make_ready(None)
    let_the_clock_move_on(folder.parent)
    (draft.upper / "changed.txt").write_text("new\n")
    (draft.upper / "evil\n\u202etxt").write_text("\x1b[2Jhidden\u200b\n")
    (draft.upper / "image").write_bytes(b"\x89PNG\0")
    os.mknod(draft.upper / "gone.txt", stat.S_IFCHR, 0)
    return draft


def test_what_was_written_is_shown_and_nothing_of_it_reaches_the_terminal_raw(
    typed: Type, draft: Draft
) -> None:
    shown = typed("changes", "notes")
    assert shown.status == 0
    assert "-old\n+new\n" in shown.out
    assert "⟨U+000A⟩⟨U+202E⟩" in shown.out
    assert "+⟨U+001B⟩[2Jhidden⟨U+200B⟩" in shown.out
    assert "5 bytes, sha256:" in shown.out
    assert "4 changes, 0 that may not be kept, 0 in conflict" in shown.err
    assert not {"\x1b", "\u202e", "\u200b"} & set(shown.out)
    assert Path(draft.folder, "changed.txt").read_text() == "old\n"


def test_what_a_killed_commit_left_is_finished_before_anything_is_shown(typed: Type, draft: Draft) -> None:
    drafts, left = Drafts(draft.place.parent), ["apply"] * 3

    def step(name: str) -> None:
        if name in left:
            left.remove(name)
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    if (pid := os.fork()) == 0:
        try:
            keep(drafts, step=step)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert "nothing written" in typed("changes", "notes").out
    assert Path(draft.folder, "changed.txt").read_text() == "new\n"
    assert not Path(draft.folder, "gone.txt").exists()


def test_a_program_reads_the_same(typed: Type, draft: Draft) -> None:
    (draft.upper / "out").symlink_to("/etc")
    found = {one["path"]: one for one in typed("changes", "notes", "--json").json["changes"]}
    assert found["changed.txt"]["what"] == "changed"
    assert found["gone.txt"]["what"] == "deleted"
    assert found["out"]["refused"]
    assert found["out"]["target"] == "/etc"


def test_what_is_kept_is_there_and_what_is_discarded_is_not(typed: Type, draft: Draft) -> None:
    assert typed("changes", "notes", "--rollback").status == 0
    assert Path(draft.folder, "gone.txt").exists()
    draft.make_ready(None)
    (draft.upper / "changed.txt").write_text("newer\n")
    kept = typed("changes", "notes", "--commit", "--json")
    assert kept.json == {"plugin": "notes", "state": "kept", "number": 1}
    assert Path(draft.folder, "changed.txt").read_text() == "newer\n"
    assert "nothing written" in typed("changes", "notes").out
    assert typed("changes", "notes", "--commit").out == "notes: 0 changes kept\n"


def test_what_was_written_after_it_was_shown_is_not_kept(typed: Type, draft: Draft) -> None:
    shown = typed("changes", "notes").err.split("--digest ")[1].split(",")[0]
    (draft.upper / "changed.txt").write_text("evil\n")
    refused = typed("changes", "notes", "--commit", "--digest", shown, "--json")
    assert refused.error["code"] == "changes_refused"
    assert Path(draft.folder, "changed.txt").read_text() == "old\n"
    assert Path(draft.folder, "gone.txt").exists()


def test_what_is_as_it_was_shown_is_kept(typed: Type, draft: Draft) -> None:
    shown = typed("changes", "notes", "--json").json
    assert typed("changes", "notes").err.count(shown["digest"]) == 1
    assert typed("changes", "notes", "--commit", "--digest", shown["digest"]).status == 0
    assert Path(draft.folder, "changed.txt").read_text() == "new\n"


def test_a_conflict_is_refused_until_it_is_forced(typed: Type, draft: Draft) -> None:
    Path(draft.folder, "changed.txt").write_text("somebody's\n")
    assert "CONFLICT" in typed("changes", "notes").out
    refused = typed("changes", "notes", "--commit", "--json")
    assert refused.status == 1
    assert refused.error["code"] == "changes_refused"
    assert typed("changes", "notes", "--commit", "--force").status == 0
    assert Path(draft.folder, "changed.txt").read_text() == "new\n"


def test_what_is_not_shown_any_more_is_counted(typed: Type, draft: Draft) -> None:
    assert "not shown" not in typed("changes", "notes").out
    for number in range(changes.MAX_DIFFERENCES):
        (draft.upper / f"a{number:03}").write_text("boring\n")
    (draft.upper / "zzz").write_text("evil\n")
    (draft.upper / "zzzz").symlink_to("zzz")
    shown = typed("changes", "notes").out
    assert shown.count("+boring") == changes.MAX_DIFFERENCES
    assert "… and the contents of 5 more, not shown" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("--commit", "--rollback"),
        ("--force",),
        ("--rollback", "--force"),
        ("--digest", "0"),
        ("--rollback", "--digest", "0"),
    ],
)
def test_words_that_contradict_each_other_are_refused(
    typed: Type, draft: Draft, words: tuple[str, ...]
) -> None:
    assert typed("changes", "notes", *words).status == 2
    assert Path(draft.folder, "gone.txt").exists()


def test_an_unknown_plugin_is_refused(typed: Type, home: Path) -> None:
    del home
    assert typed("changes", "nobody").status != 0


@pytest.mark.parametrize(("killed_at", "keeps"), [("journal", False), ("apply", True), ("clear", True)])
def test_what_was_interrupted_is_settled_before_anything_is_shown(
    typed: Type, draft: Draft, killed_at: str, keeps: bool
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == killed_at and len(steps) > 1:
            raise Killed
        steps.append(name)

    steps: list[str] = ["", ""] if killed_at != "apply" else [""]  # the second of the steps, for those
    with pytest.raises(Killed):
        keep(Drafts(draft.place.parent), step=kill)
    shown = typed("changes", "notes", "--json")
    assert len(shown.json["changes"]) == (0 if keeps else 4)
    assert Path(draft.folder, "changed.txt").read_text() == ("new\n" if keeps else "old\n")
    assert Path(draft.folder, "gone.txt").exists() is not keeps
    assert not list(Path(draft.folder).glob(".*"))
