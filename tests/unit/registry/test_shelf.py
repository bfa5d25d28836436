"""Surfaces are kept, whole, and checked when they are taken from the shelf."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.errors import Misconfigured, Refused, Tampered, Unavailable
from sekisho.protocol.names import PluginName
from sekisho.registry import Listing, Shelf, surface_of
from sekisho.registry.shelf import MAX_HISTORY

PLUGIN = PluginName("notes")
NOON = 1_795_262_400.0


def listing(text: str) -> Listing:
    return Listing(tools=(f'{{"name":"a","description":"{text}"}}'.encode(),), instructions="be kind")


def test_a_stored_surface_loads_again(tmp_path: Path) -> None:
    stored = Shelf(tmp_path).store(PLUGIN, listing("one"), NOON)
    assert Shelf(tmp_path).load(PLUGIN, stored.root) == stored == surface_of(listing("one"))
    assert Shelf(tmp_path).current(PLUGIN) == stored.root


@pytest.mark.requirement("B4.1")
def test_history_keeps_every_surface_with_the_time_it_was_first_seen(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first = shelf.store(PLUGIN, listing("one"), NOON)
    second = shelf.store(PLUGIN, listing("two"), NOON + 60)
    shelf.store(PLUGIN, listing("one"), NOON + 120)
    assert [(kept.root, kept.first_seen) for kept in shelf.history(PLUGIN)] == [
        (first.root, "2026-11-21T12:00:00+00:00"),
        (second.root, "2026-11-21T12:01:00+00:00"),
    ]
    assert shelf.current(PLUGIN) == first.root


def test_files_are_for_their_owner_only_and_no_draft_stays(tmp_path: Path) -> None:
    Shelf(tmp_path).store(PLUGIN, listing("one"), NOON)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [".json", ".json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert (tmp_path / "registry" / "notes" / "surfaces").stat().st_mode & 0o077 == 0


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize("edit", [(b"one", b"two"), (b'"listing"', b'"listings"'), (b"{", b"[")])
def test_an_edited_file_is_noticed(tmp_path: Path, edit: tuple[bytes, bytes]) -> None:
    shelf = Shelf(tmp_path)
    stored = shelf.store(PLUGIN, listing("one"), NOON)
    path = shelf.history(PLUGIN)[0].path
    path.write_bytes(path.read_bytes().replace(*edit, 1))
    with pytest.raises(Tampered):
        shelf.load(PLUGIN, stored.root)


def test_a_stored_surface_is_never_overwritten(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.store(PLUGIN, listing("one"), NOON)
    path = shelf.history(PLUGIN)[0].path
    before = (path.stat().st_ino, path.read_bytes())
    shelf.store(PLUGIN, listing("one"), NOON + 60)
    assert (path.stat().st_ino, path.read_bytes()) == before


def test_a_root_that_is_not_on_the_shelf_is_said_so(tmp_path: Path) -> None:
    root = surface_of(listing("one")).root
    assert Shelf(tmp_path).find(PLUGIN, root) is None
    with pytest.raises(Misconfigured, match="not on the shelf"):
        Shelf(tmp_path).load(PLUGIN, root)


@pytest.mark.parametrize("root", ["", "sha256:", "../../../etc/passwd", "sha256:" + "A" * 64])
def test_a_root_that_is_no_digest_never_becomes_a_path(tmp_path: Path, root: str) -> None:
    with pytest.raises(Tampered):
        Shelf(tmp_path).load(PLUGIN, root)


def test_a_plugin_without_files_has_no_history(tmp_path: Path) -> None:
    assert Shelf(tmp_path).history(PLUGIN) == ()
    assert Shelf(tmp_path).current(PLUGIN) is None


@pytest.mark.threat("T-FLOOD")
def test_a_plugin_that_always_changes_cannot_fill_the_disk(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    kept = shelf.store(PLUGIN, listing("one"), NOON)
    folder = shelf.history(PLUGIN)[0].path.parent
    for number in range(MAX_HISTORY - 1):
        (folder / f"{number:064x}.json").touch()
    with pytest.raises(Refused) as refusal:
        shelf.store(PLUGIN, listing("another"), NOON)
    assert refusal.value.code == "definition_changed"
    assert shelf.store(PLUGIN, listing("one"), NOON) == kept


def test_a_shelf_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be stored"):
        Shelf(tmp_path).store(PLUGIN, listing("one"), NOON)


def test_the_draft_of_another_process_is_left_alone(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.store(PLUGIN, listing("read"), NOON)
    (folder,) = {path.parent for path in tmp_path.rglob("current.json")}
    (folder / ".current.json.new").mkdir()
    (folder / ".current.json.1.new").write_bytes(b"half of")
    shelf.store(PLUGIN, listing("write"), NOON + 1)
    assert (folder / ".current.json.1.new").read_bytes() == b"half of"


def test_what_is_listed_again_is_not_written_again_and_what_went_missing_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    stored = shelf.store(PLUGIN, listing("one"), NOON)
    (current,) = [path for path in tmp_path.rglob("*.json") if path.stem == "current"]
    before = current.stat().st_ino  # a new file takes its place at each writing
    shelf.store(PLUGIN, listing("one"), NOON + 1)
    assert current.stat().st_ino == before
    current.unlink()
    shelf.store(PLUGIN, listing("one"), NOON + 2)
    assert shelf.current(PLUGIN) == stored.root
