"""All or nothing: killed at every step, the folder is the old one or the new one after recovery."""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ticking import let_the_clock_move_on

from sekisho.errors import Refused, Unavailable
from sekisho.sandbox.drafts.changes import changes_of
from sekisho.sandbox.drafts.draft import Draft, Drafts
from sekisho.sandbox.drafts.journal import write_journal
from sekisho.sandbox.drafts.shown import digest_of
from sekisho.sandbox.drafts.transaction import discard, keep, recover, settled

Snapshot = dict[str, tuple[str, int, str]]


def snapshot(folder: Path) -> Snapshot:
    """Every path with its kind, mode and content."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", 0, str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", mode, "")
        else:
            found[name] = ("file", mode, path.read_bytes().hex())
    return found


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    """Two folders, each with a draft that does a bit of everything."""
    return build(tmp_path.resolve())


def build(place: Path) -> Drafts:
    drafts = Drafts(place / "drafts" / "p")
    for name in ("one", "two"):
        folder = place / name
        (folder / "sub" / "deep").mkdir(parents=True)
        for path in ("changed", "deleted", "mode", "becomes folder", "sub/c", "sub/deep/d"):
            (folder / path).write_text(path)
        (folder / "old link").symlink_to("changed")
        let_the_clock_move_on(place)
        draft = drafts.of(str(folder))
        draft.make_ready(None)
        upper = draft.upper
        (upper / "changed").write_text("new content")
        os.mknod(upper / "deleted", stat.S_IFCHR, 0)
        (upper / "mode").write_text("mode")
        (upper / "mode").chmod(0o600)
        (upper / "becomes folder").mkdir(mode=0o711)
        (upper / "becomes folder" / "file").write_text("inside")
        (upper / "becomes folder" / "tool").write_text("#!/bin/sh\n")
        (upper / "becomes folder" / "tool").chmod(0o4755)
        (upper / "sub").write_text("a file now")
        (upper / "new link").symlink_to("becomes folder/file")
        (upper / "old link").write_text("no link any more")
        (upper / "line\nbreak \u202e").write_text("strange name")
    return drafts


def folders(drafts: Drafts) -> list[Path]:
    return [Path(draft.folder) for draft in drafts.all()]


def whole(drafts: Drafts) -> list[Snapshot]:
    return [snapshot(folder) for folder in folders(drafts)]


NEW: Snapshot = {
    "becomes folder": ("folder", 0o711, ""),
    "becomes folder/file": ("file", 0o644, b"inside".hex()),
    "becomes folder/tool": ("file", 0o755, b"#!/bin/sh\n".hex()),
    "changed": ("file", 0o644, b"new content".hex()),
    "line\nbreak \u202e": ("file", 0o644, b"strange name".hex()),
    "mode": ("file", 0o600, b"mode".hex()),
    "new link": ("link", 0, "becomes folder/file"),
    "old link": ("file", 0o644, b"no link any more".hex()),
    "sub": ("file", 0o644, b"a file now".hex()),
}


def test_what_is_kept_is_what_the_plugin_saw(drafts: Drafts) -> None:
    assert keep(drafts) > 0
    assert whole(drafts) == [NEW, NEW]
    assert [changes_of(draft) for draft in drafts.all()] == [(), ()]
    assert keep(drafts) == 0
    assert not recover(drafts)


def test_what_is_discarded_leaves_the_folders_as_they_were(drafts: Drafts) -> None:
    before = whole(drafts)
    assert discard(drafts) == 2
    assert whole(drafts) == before
    assert keep(drafts) == 0
    assert whole(drafts) == before


def test_what_is_kept_is_a_copy_that_nobody_else_holds(drafts: Drafts) -> None:
    with (drafts.all()[0].upper / "changed").open("a") as held:
        keep(drafts)
        held.write("written by one who kept the file open")
        held.flush()
    kept = folders(drafts)[0] / "changed"
    assert kept.read_text() == "new content"
    assert kept.stat().st_nlink == 1


def killed_at(drafts: Drafts, number: int, decide: Callable[..., int] = keep) -> bool:
    """Keep or discard them in a process that dies at its n-th step; False when it came to its end before."""
    pid = os.fork()
    if pid == 0:
        left = number

        def step(_name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            decide(drafts, step=step)
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


@pytest.mark.requirement("B4.4")
def test_what_was_begun_to_be_discarded_is_discarded_in_all_folders(drafts: Drafts) -> None:
    before = whole(drafts)
    number = 1
    while killed_at(drafts, number, discard):
        recover(drafts)
        assert [changes_of(draft) for draft in drafts.all()] == [(), ()]
        for draft in drafts.all():
            draft.make_ready(None)
            (draft.upper / "again").touch()
        number += 1
    assert number > 3
    assert whole(drafts) == before


def test_what_cannot_be_noted_on_a_full_disk_is_discarded_all_the_same(drafts: Drafts) -> None:
    before = whole(drafts)

    def discard_on_a_full_disk(drafts: Drafts, *, step: Callable[[str], None]) -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        return discard(drafts, step=step)

    names = folders(drafts)
    assert not killed_at(drafts, 100, discard_on_a_full_disk)
    assert [changes_of(draft) for draft in drafts.all()] == [(), ()]
    assert folders(drafts) == names
    assert whole(drafts) == before
    (drafts.all()[0].upper).mkdir()
    (drafts.all()[0].upper / "later").touch()
    assert keep(drafts) == 1


@pytest.mark.requirement("B4.4")
def test_killed_at_any_step_it_ends_old_or_new_and_both_folders_together(tmp_path: Path) -> None:
    seen = set[str]()
    for number in range(1, 1000):
        drafts = build(tmp_path.resolve() / str(number))
        old = whole(drafts)
        if not killed_at(drafts, number):
            break
        recover(drafts)
        found = whole(drafts)
        assert found in (old, [NEW, NEW]), number
        seen.add("old" if found == old else "new")
        assert not recover(drafts)
        keep(drafts)  # from the old state all of it, from the new one nothing
        assert whole(drafts) == [NEW, NEW], number
    assert number > 20
    assert seen == {"old", "new"}
    assert whole(drafts) == [NEW, NEW]


@pytest.mark.requirement("B4.4")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_whoever_asks_for_an_end_in_the_middle_of_the_steps_gets_it_after_the_last(
    drafts: Drafts, number: signal.Signals
) -> None:
    pid = os.fork()
    if pid == 0:
        signal.signal(number, signal.SIG_DFL)
        steps: list[str] = []

        def step(name: str) -> None:
            steps.append(name)
            if steps.count("apply") == 3:
                os.kill(os.getpid(), number)

        try:
            keep(drafts, step=step)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
    assert [(one.keys() - {stage(one)}) for one in whole(drafts)] == [NEW.keys(), NEW.keys()], (
        "before any recovery"
    )
    recover(drafts)
    assert whole(drafts) == [NEW, NEW]


def stage(found: Snapshot) -> str:
    """The folder with the copies, which is empty by then."""
    return next((name for name in found if name.startswith(".sekisho-")), "")


def test_a_signal_before_the_steps_ends_it_at_once_and_nothing_is_kept(drafts: Drafts) -> None:
    old = whole(drafts)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            keep(
                drafts, step=lambda name: os.kill(os.getpid(), signal.SIGTERM) if name == "journal" else None
            )
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    recover(drafts)
    assert whole(drafts) == old


def test_a_second_folder_that_is_gone_stops_the_first_before_its_first_step(drafts: Drafts) -> None:
    pid = os.fork()
    if pid == 0:  # the journal stands, and nothing is done
        try:
            keep(drafts, step=lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == "apply" else None)
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    first, second = folders(drafts)
    old = snapshot(first)
    second.rename(second.with_name("away"))
    with pytest.raises(Unavailable):
        recover(drafts)
    assert snapshot(first) == old
    second.with_name("away").rename(second)
    recover(drafts)
    assert whole(drafts) == [NEW, NEW]


def test_a_recovery_that_is_killed_is_recovered_from(drafts: Drafts) -> None:
    number = 30  # beyond the copies: the journal stands by then
    while killed_at(drafts, number):
        number = 3
        while killed_at(drafts, number) and number < 40:
            number += 1
    recover(drafts)
    assert whole(drafts) == [NEW, NEW]


def test_a_link_that_leads_out_stops_everything_and_without_it_all_is_kept(drafts: Drafts) -> None:
    before = whole(drafts)
    out = drafts.all()[1].upper / "out"
    out.symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="out"):
        keep(drafts, force=True)
    assert whole(drafts) == before
    out.unlink()
    keep(drafts)
    assert whole(drafts) == [NEW, NEW]


def test_a_conflict_stops_everything_unless_it_is_forced(drafts: Drafts) -> None:
    changed = folders(drafts)[0] / "changed"
    changed.write_text("somebody else's")
    before = whole(drafts)
    with pytest.raises(Refused, match="somebody else"):
        keep(drafts)
    assert whole(drafts) == before
    keep(drafts, force=True)
    assert whole(drafts) == [NEW, NEW]


def test_what_somebody_adds_to_a_folder_that_goes_is_not_lost(drafts: Drafts) -> None:
    draft = drafts.all()[0]
    (draft.upper / "sub").unlink()
    os.mknod(draft.upper / "sub", stat.S_IFCHR, 0)
    kept = Path(draft.folder, "sub", "kept")

    def step(name: str) -> None:
        if name == "journal":
            kept.write_text("somebody else's")

    keep(drafts, step=step)
    assert kept.read_text() == "somebody else's"
    assert not Path(draft.folder, "sub", "c").exists()


def test_a_folder_that_was_put_in_the_place_of_the_first_is_not_touched(drafts: Drafts) -> None:
    folder = folders(drafts)[0]
    aside = folder.with_name("aside")

    def step(name: str) -> None:
        if name == "journal":
            folder.rename(aside)
            folder.mkdir()

    with pytest.raises(Unavailable, match="another folder"):
        keep(drafts, step=step)
    assert snapshot(folder) == {}
    with pytest.raises(Unavailable, match="another folder"):
        recover(drafts)
    folder.rmdir()
    aside.rename(folder)
    assert recover(drafts)
    assert whole(drafts) == [NEW, NEW]


def test_a_link_in_the_place_of_a_folder_leads_no_step_out(drafts: Drafts, tmp_path: Path) -> None:
    beside = tmp_path.resolve() / "beside"
    beside.mkdir()
    draft = drafts.all()[0]
    (draft.upper / "sub").unlink()
    (draft.upper / "sub" / "deep").mkdir(parents=True)
    (draft.upper / "sub" / "deep" / "new").write_text("new")
    deep = Path(draft.folder, "sub", "deep")

    def step(name: str) -> None:
        if name == "journal":
            deep.rename(deep.with_name("moved"))
            deep.symlink_to(beside)

    with pytest.raises(Unavailable, match="finished"):
        keep(drafts, step=step)
    assert list(beside.iterdir()) == []
    deep.unlink()
    deep.with_name("moved").rename(deep)
    assert recover(drafts)
    assert (deep / "new").read_text() == "new"


def test_a_copy_that_cannot_be_made_leaves_everything_as_it_was(drafts: Drafts) -> None:
    before = whole(drafts)

    def step(name: str) -> None:
        if name == "copy":
            raise OSError(28, "No space left on device", "copy")

    with pytest.raises(Unavailable, match="No space"):
        keep(drafts, step=step)
    assert whole(drafts) == before


def test_a_hole_costs_nothing(drafts: Drafts) -> None:
    draft = drafts.all()[0]
    with (draft.upper / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"x")
    keep(drafts)
    kept = Path(draft.folder, "sparse").stat()
    assert kept.st_size == 1 << 40
    assert kept.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_link_that_is_turned_after_it_was_judged_is_kept_as_it_was_judged(
    drafts: Drafts, is_seen: bool
) -> None:
    """A folder of a draft that somebody outside of the sandbox still holds open can be written to at any time."""
    shown = digest_of([(draft, changes_of(draft)) for draft in drafts.all()]) if is_seen else ""
    held = os.open(drafts.all()[0].upper, os.O_RDONLY | os.O_DIRECTORY)

    def turn(name: str) -> None:
        if name == "stage":
            os.unlink("new link", dir_fd=held)
            os.symlink("/etc/passwd", "new link", dir_fd=held)

    keep(drafts, seen=shown, step=turn)
    os.close(held)
    assert whole(drafts) == [NEW, NEW]


def test_what_is_written_while_it_is_copied_is_not_what_was_shown(drafts: Drafts) -> None:
    before = whole(drafts)
    shown = digest_of([(draft, changes_of(draft)) for draft in drafts.all()])
    with (drafts.all()[1].upper / "changed").open("r+") as held:

        def write(name: str) -> None:
            if name == "stage":
                held.seek(0)
                held.write("evil")
                held.flush()

        with pytest.raises(Refused, match="not what was shown"):
            keep(drafts, seen=shown, step=write)
        assert whole(drafts) == before
        assert not recover(drafts)
        held.seek(0)
        held.write("new ")
    assert keep(drafts, seen=shown) > 0
    assert whole(drafts) == [NEW, NEW]


def test_a_journal_that_is_none_is_refused(drafts: Drafts) -> None:
    for text in ("{}", "[", '{"state": "ready", "roots": [{}]}', '{"state": "kept", "roots": []}'):
        (drafts.place / "journal.json").write_text(text)
        with pytest.raises(Unavailable, match="journal"):
            recover(drafts)


def test_no_draft_is_nothing_to_keep(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path / "none")
    assert keep(drafts) == 0
    assert discard(drafts) == 0


def test_a_draft_is_told_apart_by_its_folder(drafts: Drafts) -> None:
    assert len({draft.place for draft in drafts.all()}) == 2
    assert isinstance(drafts.all()[0], Draft)


def test_a_reading_into_which_somebodys_keeping_fell_is_made_again(drafts: Drafts) -> None:
    counts: list[int] = []

    def read() -> int:
        counts.append(sum(len(changes_of(draft)) for draft in drafts.all()))
        if len(counts) == 1:
            keep(drafts)
        return counts[-1]

    assert settled(drafts, read) == 0
    assert counts[0] > 0
    assert len(counts) == 2


def test_a_word_of_the_journal_within_one_tick_of_the_clock_is_noticed(drafts: Drafts) -> None:
    found: list[int] = []

    def read() -> int:
        if not found:
            before = drafts.place.stat().st_mtime_ns
            write_journal(drafts, "discarding", ())
            os.utime(drafts.place, ns=(before, before))
        found.append(sum(len(changes_of(draft)) for draft in drafts.all()))
        return found[-1]

    assert settled(drafts, read) == 0
    assert found[0] > 0


def test_a_reading_that_fails_for_somebodys_keeping_is_made_again_and_another_is_told(drafts: Drafts) -> None:
    tried: list[str] = []

    def read() -> str:
        tried.append("")
        if len(tried) == 1:
            keep(drafts)
            raise FileNotFoundError
        return "read"

    assert settled(drafts, read) == "read"

    def broken() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        settled(drafts, broken)


def test_while_somebody_prepares_the_old_state_is_read_and_nobody_is_disturbed(drafts: Drafts) -> None:
    found: list[int] = []

    def look(name: str) -> None:
        if name == "journal":
            found.append(settled(drafts, lambda: sum(len(changes_of(draft)) for draft in drafts.all())))

    with drafts.turn():
        number = keep(drafts, step=look)
    assert found == [number]
