"""Receipts that hold without the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.ledger import Ledger
from sekisho.audit.proofs import check_proof, prove, record_at
from sekisho.audit.publisher import Publisher
from sekisho.errors import Refused, Tampered, Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
ORIGIN = "gateway.example/audit"
SIGNED = 11


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = tmp_path / "log"
    ledger = Ledger(ORIGIN)
    records = [b'{"n":%d,"call":"c%d"}' % (i, i) for i in range(SIGNED + 2)]
    for record in records[:SIGNED]:
        ledger.add(record)
    log.write_bytes(b"".join(record + b"\n" for record in records))
    publisher = Publisher(log, KEY, ORIGIN)
    publisher.prepare()
    publisher.publish(ledger.checkpoint(), ledger.leaves())
    return log


@pytest.mark.requirement("A2.3")
def test_every_signed_record_has_a_proof_that_holds_for_it_alone(path: Path) -> None:
    for index in range(SIGNED):
        proof = prove(path, PUBLIC, index)
        assert check_proof(proof, record_at(path, index), PUBLIC, origin=ORIGIN).size == SIGNED
        with pytest.raises(Tampered, match="does not show"):
            check_proof(proof, record_at(path, (index + 1) % SIGNED), PUBLIC)


@pytest.mark.threat("T-LOG")
def test_every_changed_character_of_a_proof_is_noticed(path: Path) -> None:
    proof, record = prove(path, PUBLIC, 4), record_at(path, 4)
    for at, character in enumerate(proof):
        for bit in range(7):
            changed = proof[:at] + chr(ord(character) ^ (1 << bit)) + proof[at + 1 :]
            with pytest.raises(Tampered):
                check_proof(changed, record, PUBLIC)


def test_a_proof_begins_as_the_standard_says(path: Path) -> None:
    assert prove(path, PUBLIC, 4).startswith("c2sp.org/tlog-proof@v1\nindex 4\n")


@pytest.mark.parametrize("index", [-1, SIGNED, SIGNED + 1, 99])
def test_what_is_not_under_the_checkpoint_has_no_proof(path: Path, index: int) -> None:
    with pytest.raises(Refused, match="covers 11 records"):
        prove(path, PUBLIC, index)


@pytest.mark.threat("T-LOG")
def test_a_changed_log_gives_no_proofs(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"c3", b"c9"))
    with pytest.raises(Tampered, match="not the ones"):
        prove(path, PUBLIC, 0)


def test_absent_logs_and_records_say_so(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        prove(tmp_path / "absent", PUBLIC, 0)
    with pytest.raises(Unavailable):
        record_at(tmp_path / "absent", 0)
    with pytest.raises(Refused):
        record_at(path, 99)


@pytest.mark.parametrize(
    "text", ["", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nindex x\n\n", "a" * 20_000]
)
def test_other_text_is_no_proof(text: str) -> None:
    with pytest.raises(Tampered, match="not a proof"):
        check_proof(text, b"", PUBLIC)
