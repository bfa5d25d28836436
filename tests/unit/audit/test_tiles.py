"""Tile paths, bundles, and exports that say what the log says."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.audit.ledger import Ledger
from sekisho.audit.note import open_checkpoint
from sekisho.audit.publisher import Publisher
from sekisho.audit.tiles import bundle, bundle_path, export_tiles, tile_path, unbundle
from sekisho.audit.tree import leaf_hash, root_of
from sekisho.errors import Refused, Tampered, Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


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


def logged(path: Path, count: int) -> list[bytes]:
    records = [b'{"n":%d,"call":"c%d"}' % (i, i) for i in range(count)]
    path.write_bytes(b"".join(record + b"\n" for record in records))
    ledger = Ledger(ORIGIN)
    ledger.extend(records)
    publisher = Publisher(path, KEY, ORIGIN)
    publisher.prepare()
    publisher.publish(ledger.checkpoint(), ledger.leaves())
    return records


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 800))
def test_an_export_holds_every_record_and_adds_up_to_the_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    records = logged(path, count)
    with path.open("ab") as file:
        file.write(b'{"n":%d,"not":"signed yet"}\n' % count)
    folder = path.with_name("out")
    checkpoint = export_tiles(path, KEY.public_key(), folder)
    assert open_checkpoint((folder / "checkpoint").read_bytes(), KEY.public_key()) == checkpoint
    told: list[bytes] = []
    leaves = b""
    for index in range(-(-count // 256)):
        width = min(256, count - index * 256)
        told += unbundle((folder / bundle_path(index, width)).read_bytes())
        leaves += (folder / tile_path(0, index, width)).read_bytes()
    assert told == records
    assert leaves == b"".join(leaf_hash(record) for record in records)
    roots = (folder / tile_path(1, 0, count // 256)).read_bytes() if count >= 256 else b""
    assert roots == b"".join(
        root_of([leaf_hash(record) for record in records[at : at + 256]])
        for at in range(0, count - count % 256, 256)
    )


@pytest.mark.threat("T-LOG")
def test_an_export_of_a_changed_log_has_no_checkpoint(tmp_path: Path) -> None:
    logged(tmp_path / "log", 300)
    (tmp_path / "log").write_bytes((tmp_path / "log").read_bytes().replace(b'"c7"', b'"c8"'))
    with pytest.raises(Tampered, match="not the ones"):
        export_tiles(tmp_path / "log", KEY.public_key(), tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_an_export_does_not_mix_with_other_files(tmp_path: Path) -> None:
    logged(tmp_path / "log", 3)
    with pytest.raises(Refused, match="not empty"):
        export_tiles(tmp_path / "log", KEY.public_key(), tmp_path)
    with pytest.raises(Unavailable, match="cannot be read"):
        export_tiles(tmp_path / "absent", KEY.public_key(), tmp_path / "out")
