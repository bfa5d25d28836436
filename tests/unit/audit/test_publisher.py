"""What the publisher puts beside the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.ledger import Ledger
from sekisho.audit.note import open_checkpoint, read_verifier_key
from sekisho.audit.publisher import Publisher
from sekisho.audit.tree import leaf_hash
from sekisho.errors import Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


def test_leaf_hashes_key_and_checkpoint_stand_beside_the_log(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "log", KEY, ORIGIN)
    publisher.prepare()
    publisher.announce_key()
    assert publisher.current() is None
    ledger = Ledger(ORIGIN)
    ledger.extend([b"%d" % i for i in range(258)])
    publisher.publish(ledger.checkpoint(), ledger.leaves())
    folder = tmp_path / "log.tlog"
    assert {path.name for path in folder.iterdir()} == {"checkpoint", "key.pub", "leaves"}
    assert (folder / "leaves").read_bytes() == b"".join(leaf_hash(b"%d" % i) for i in range(258))
    assert publisher.current() == ledger.checkpoint()
    origin, key = read_verifier_key((folder / "key.pub").read_text())
    assert open_checkpoint((folder / "checkpoint").read_bytes(), key, origin=origin).size == 258


def test_a_checkpoint_of_another_log_is_not_ours(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "log", KEY, ORIGIN)
    publisher.prepare()
    publisher.publish(Ledger(ORIGIN).checkpoint(), Ledger(ORIGIN).leaves())
    with pytest.raises(Tampered):
        Publisher(tmp_path / "log", KEY, "other.example").current()
    with pytest.raises(Tampered):
        Publisher(tmp_path / "log", Ed25519PrivateKey.generate(), ORIGIN).current()
