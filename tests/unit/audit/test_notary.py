"""The notary keeps what was not put out, and says when too much has piled up."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import notary as module
from sekisho.audit.ledger import Ledger
from sekisho.audit.notary import Notary
from sekisho.audit.publisher import Publisher
from sekisho.errors import Tampered, Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def notary(path: Path) -> tuple[Notary, Publisher]:
    publisher = Publisher(path, KEY, "log.example")
    publisher.prepare()
    return Notary(Ledger("log.example"), publisher), publisher


def test_what_could_not_be_put_out_comes_with_the_next_checkpoint(tmp_path: Path) -> None:
    one, publisher = notary(tmp_path / "log")
    one.take([b"a", b"b"])
    lost = one.due()
    assert one.ended(lost, OSError(28, "No space left on device")) is None
    assert one.is_behind, "and it says why"
    assert "checkpoint" in str(one.problem)
    one.take([b"c"])
    due = one.due()
    one.put_out(due)
    assert one.ended(due, None) is None
    assert len(publisher.folder.told_leaves(0, 9)) == 3
    assert publisher.current() == due.checkpoint


def test_what_is_not_the_disk_s_fault_stops_the_log(tmp_path: Path) -> None:
    one, _ = notary(tmp_path / "log")
    assert isinstance(one.ended(one.due(), Tampered("log_tampered", "removed")), Tampered)
    assert isinstance(one.ended(one.due(), ZeroDivisionError()), Unavailable)


@pytest.mark.threat("T-FULLDISK")
def test_records_without_checkpoint_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNSIGNED_RECORDS", 2)
    one, _ = notary(tmp_path / "log")
    one.take([b"a", b"b"])
    assert one.overdue() is None
    one.take([b"c"])
    assert one.overdue() is not None
    one.finish()
    assert one.problem is None
