"""What the publisher puts beside the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.ledger import Ledger
from sekisho.audit.note import open_checkpoint, read_verifier_key
from sekisho.audit.publisher import Publisher
from sekisho.audit.tiles import unbundle
from sekisho.errors import Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


def test_tiles_bundles_and_checkpoint_stand_beside_the_log(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "log", KEY, ORIGIN)
    publisher.prepare()
    publisher.announce_key()
    assert publisher.current() is None
    ledger = Ledger(ORIGIN)
    for i in range(258):
        ledger.add(b"%d" % i)
    publisher.store(ledger.partial_files())
    publisher.publish(ledger.checkpoint(), ledger.full_files())
    folder = tmp_path / "log.tlog"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "checkpoint",
        "key.pub",
        "tile/0/000",
        "tile/0/001.p/2",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/2",
    }
    assert unbundle((folder / "tile/entries/001.p/2").read_bytes()) == [b"256", b"257"]
    assert publisher.current() == ledger.checkpoint()
    origin, key = read_verifier_key((folder / "key.pub").read_text())
    assert open_checkpoint((folder / "checkpoint").read_bytes(), key, origin=origin).size == 258


def test_a_checkpoint_of_another_log_is_not_ours(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "log", KEY, ORIGIN)
    publisher.prepare()
    publisher.publish(Ledger(ORIGIN).checkpoint(), Ledger(ORIGIN).full_files())
    with pytest.raises(Tampered):
        Publisher(tmp_path / "log", KEY, "other.example").current()
    with pytest.raises(Tampered):
        Publisher(tmp_path / "log", Ed25519PrivateKey.generate(), ORIGIN).current()
