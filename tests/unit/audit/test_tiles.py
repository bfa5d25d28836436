"""Tile paths, bundles, and files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.tiles import (
    TileFolder,
    bundle,
    bundle_path,
    folder_of,
    replace_file,
    tile_path,
    unbundle,
)
from sekisho.audit.tree import TileRow


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (1, 7, 12, "tile/1/007.p/12"),
        (2, 1000, 256, "tile/2/x001/000"),
    ],
)
def test_paths_are_those_of_the_standard(level: int, index: int, width: int, path: str) -> None:
    assert tile_path(level, index, width) == path


def test_bundle_paths_are_those_of_the_standard() -> None:
    assert bundle_path(1234067) == "tile/entries/x001/x234/067"
    assert bundle_path(0, 3) == "tile/entries/000.p/3"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert unbundle(bundle(entries)) == entries


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5), st.data())
def test_a_bundle_cut_short_is_refused_or_shorter(entries: list[bytes], data: st.DataObject) -> None:
    whole = bundle(entries)
    end = data.draw(st.integers(0, len(whole) - 1))
    try:
        found = unbundle(whole[:end])
    except ValueError:
        return
    assert found == entries[: len(found)]
    assert len(found) < len(entries)


def test_a_full_tile_replaces_its_partial_forms(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path)
    hashes = tuple(bytes([i]) * 32 for i in range(256))
    folder.write_tile(TileRow(0, 0, hashes[:3]))
    assert folder.leaf_hashes(0, 3) == list(hashes[:3])
    folder.write_tile(TileRow(0, 0, hashes))
    assert not (tmp_path / "tile/0/000.p").exists()
    assert folder.leaf_hashes(0, 256) == list(hashes)
    assert folder.leaf_hashes(0, 3) == list(hashes[:3])
    assert folder.has_tile(TileRow(0, 0, hashes))


def test_a_full_bundle_replaces_its_partial_forms(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path)
    folder.write_bundle(0, [b"a"])
    folder.write_bundle(0, [b"a"] * 256)
    assert not (tmp_path / "tile/entries/000.p").exists()
    assert folder.has_bundle(0, [b"a"] * 256)
    assert not folder.has_bundle(0, [b"b"] * 256)


def test_missing_and_misshapen_tiles_tell_nothing(tmp_path: Path) -> None:
    folder = TileFolder(tmp_path)
    assert folder.leaf_hashes(0, 2) is None
    folder.write_tile(TileRow(0, 0, (b"x" * 31, b"y" * 31)))
    assert folder.leaf_hashes(0, 2) is None


def test_a_failed_replacement_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "occupied").touch()
    with pytest.raises(OSError, match="checkpoint"):
        replace_file(target, b"new", durable=True)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_replaced_files_are_private(tmp_path: Path) -> None:
    replace_file(tmp_path / "f", b"old", durable=True)
    replace_file(tmp_path / "f", b"new", durable=True)
    assert (tmp_path / "f").read_bytes() == b"new"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_the_folder_stands_beside_the_log() -> None:
    assert folder_of(Path("/var/log/sekisho/audit.log")).root == Path("/var/log/sekisho/audit.log.tlog")
