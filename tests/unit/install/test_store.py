"""A tree has its name only when it is whole, and a plugin uses the old one or the new one, whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from sekisho.errors import Misconfigured, Refused, Tampered, Unavailable
from sekisho.install.kept import Kept, Receipt
from sekisho.install.manifest import Digests, digests_of
from sekisho.install.store import KEPT_BEFORE, Step, Store
from sekisho.install.tree import TreeLimits

LIMITS = TreeLimits(max_bytes=1 << 20, max_files=50)
LOCK = b"lock\n"


def keep(store: Store, text: str) -> Kept:
    """A tree with one file of this text."""
    staged = store.workplace()
    (staged / "tree").mkdir()
    (staged / "tree" / "file").write_text(text, encoding="utf-8")

    def describe(digests: Digests, files: int, size: int) -> Receipt:
        return Receipt(
            package=f"npm:x@{text}",
            entry="x",
            command=("{node}", "{tree}/file"),
            lock_name="package-lock.json",
            lock_sha256=digests_of(LOCK).sha256,
            tree_sha256=digests.sha256,
            tree_blake2b=digests.blake2b,
            files=files,
            bytes=size,
            packages=1,
            runtime="node",
        )

    return store.keep(staged, lock_name="package-lock.json", lock=LOCK, limits=LIMITS, describe=describe)


def install(store: Store, text: str) -> Kept:
    """All that an installation does to the store."""
    with store.writing():
        kept = keep(store, text)
        store.activate("x", kept.digest, f"npm:x@{text}")
        store.sweep()
    return kept


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "packages")


def _used(store: Store) -> str | None:
    active = store.active("x")
    if active is None:
        return None
    kept = store.open(active.current)
    store.prove(kept, wholly=True)
    return (kept.tree / "file").read_text(encoding="utf-8")


def test_a_plugin_uses_what_was_installed_last(store: Store) -> None:
    assert _used(store) is None
    install(store, "1")
    assert _used(store) == "1"
    install(store, "2")
    assert _used(store) == "2"


def test_the_same_tree_has_the_same_name_and_is_kept_once(store: Store) -> None:
    assert install(store, "1").digest == install(store, "1").digest
    assert len(list((store.folder / "sha256").iterdir())) == 1
    assert not list((store.folder / "work").iterdir())


def test_rolling_back_goes_to_the_one_before_and_no_further_than_there_is(store: Store) -> None:
    for text in ("1", "2", "3"):
        install(store, text)
    with store.writing():
        assert store.roll_back("x", "npm:x@3").asked == "npm:x@3"
        assert _used(store) == "2"
        store.roll_back("x", "npm:x@3")
        assert _used(store) == "1"
        with pytest.raises(Refused, match="no other package"):
            store.roll_back("x", "npm:x@3")
    assert _used(store) == "1"


def test_rolling_back_to_a_changed_tree_is_refused(store: Store) -> None:
    first = install(store, "1")
    install(store, "2")
    (first.tree / "file").chmod(0o644)
    (first.tree / "file").write_text("evil", encoding="utf-8")
    (first.tree / "file").chmod(0o444)
    with store.writing(), pytest.raises(Tampered):
        store.roll_back("x", "npm:x@2")
    assert _used(store) == "2"


def test_old_trees_go_when_nobody_can_go_back_to_them(store: Store) -> None:
    for number in range(KEPT_BEFORE + 3):
        install(store, str(number))
    assert len(list((store.folder / "sha256").iterdir())) == KEPT_BEFORE + 1
    active = store.active("x")
    assert active is not None
    for digest in active.before:
        store.prove(store.open(digest), wholly=True)


def test_a_changed_tree_is_replaced_when_it_is_installed_again(store: Store) -> None:
    kept = install(store, "1")
    (kept.tree / "file").chmod(0o644)
    (kept.tree / "file").write_text("evil", encoding="utf-8")
    with pytest.raises(Tampered):
        store.prove(kept)
    install(store, "1")
    assert _used(store) == "1"


@pytest.mark.parametrize("name", ["manifest", "receipt.json", "package-lock.json"])
def test_a_changed_or_lost_note_about_a_tree_is_noticed(store: Store, name: str) -> None:
    kept = install(store, "1")
    path = kept.folder / name
    content = path.read_bytes()
    path.chmod(0o644)
    for changed in (content.replace(b"1", b"2").replace(b"lock", b"kcol"), b"", content + b"\n"):
        path.write_bytes(changed)
        with pytest.raises(Tampered):
            store.prove(store.open(kept.digest))
    path.write_bytes(content)
    store.prove(store.open(kept.digest))
    path.unlink()
    with pytest.raises((Tampered, Misconfigured)):
        store.prove(store.open(kept.digest))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"current":"../../etc","asked":"x"}', b'{"current":1,"asked":"x"}']
)
def test_a_pointer_that_is_none_is_refused(store: Store, content: bytes) -> None:
    install(store, "1")
    (store.folder / "active" / "x.json").write_bytes(content)
    with pytest.raises(Tampered):
        store.active("x")


def test_a_lost_or_wrong_stamp_only_costs_time(store: Store) -> None:
    kept = install(store, "1")
    stamps = store.folder / "stamps" / f"{kept.digest}.json"
    for content in (b"", b"{}", b'{"file":[1,2,3]}', b"[]"):
        stamps.write_bytes(content)
        store.prove(kept)
    assert b'"file"' in stamps.read_bytes()


def test_two_writers_are_not_let_in_together(store: Store) -> None:
    with store.writing(), pytest.raises(Unavailable, match="another"), Store(store.folder).writing():
        pass


def test_a_store_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured), Store(tmp_path / "file" / "packages").writing():
        pass


def test_what_was_fetched_is_kept_for_its_lock_and_goes_with_it(store: Store) -> None:
    with store.writing():
        files = store.workplace()
        (files / "a.whl").write_bytes(b"wheel")
        store.keep_files(LOCK, files)
        kept = keep(store, "1")
        store.activate("x", kept.digest, "npm:x@1")
        store.sweep()
        again = store.workplace() / "files"
        assert store.take_files(LOCK, again)
        assert (again / "a.whl").read_bytes() == b"wheel"
        assert not store.take_files(LOCK, again)
        store.keep_files(b"other", again)
        store.sweep()
        assert not store.take_files(b"other", again)


_DIE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import install
from sekisho.install.store import Store

def at(step):
    if step == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

install(Store(Path(sys.argv[2]), at=at), "2")
"""


@pytest.mark.requirement("B3")
@pytest.mark.parametrize("step", get_args(Step))
def test_a_writer_killed_at_any_step_leaves_the_old_tree_or_the_new_one(store: Store, step: Step) -> None:
    install(store, "1")
    words = [sys.executable, "-c", _DIE, str(Path(__file__).parent), str(store.folder), step]
    died = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert _used(store) == ("2" if step in ("pointed", "swept") else "1")
    install(store, "3")
    assert _used(store) == "3"
    assert not list((store.folder / "work").iterdir())
    assert all(path.suffix == ".json" for path in (store.folder / "active").iterdir())


def test_a_writer_killed_before_the_first_installation_leaves_none(store: Store) -> None:
    words = [sys.executable, "-c", _DIE, str(Path(__file__).parent), str(store.folder), "named"]
    subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert _used(store) is None
    install(store, "1")
    assert _used(store) == "1"


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize("broken", ["active/other.json", "receipt"])
def test_what_is_broken_of_one_plugin_keeps_no_other_from_being_installed(store: Store, broken: str) -> None:
    with store.writing():
        other = keep(store, "1")
        store.activate("other", other.digest, "npm:x@1")
        unused = keep(store, "2")
        path = other.folder / "receipt.json" if broken == "receipt" else store.folder / broken
        path.chmod(0o600)
        path.write_bytes(b"{")
        mine = keep(store, "3")
        store.activate("mine", mine.digest, "npm:x@3")
        store.sweep()
    assert store.active("mine") is not None
    assert unused.folder.exists()  # it might be the one


def test_a_note_that_cannot_be_read_is_mended_by_installing_again(store: Store) -> None:
    install(store, "1")
    (store.folder / "active" / "x.json").write_bytes(b"{")
    with pytest.raises(Tampered):
        store.active("x")
    install(store, "1")
    assert _used(store) == "1"
