"""After a crash: every acknowledged record is kept, torn bytes go, and tampering stops everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.audit.folder import folder_of
from sekisho.audit.ledger import Ledger
from sekisho.audit.logfile import LogFile
from sekisho.audit.publisher import Publisher
from sekisho.audit.recovery import count_records, recover
from sekisho.audit.tree import leaf_hash
from sekisho.audit.verifier import read_checkpoint, verify
from sekisho.errors import Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


def lines(count: int) -> list[bytes]:
    return [b'{"n":%d,"call":"c%d"}' % (i, i) for i in range(count)]


def written(path: Path, records: list[bytes], signed: int | None, torn: bytes = b"") -> None:
    """Leave a log as a crash would: `signed` records under a checkpoint, then the rest."""
    path.write_bytes(b"".join(record + b"\n" for record in records) + torn)
    publisher = Publisher(path, KEY, ORIGIN)
    publisher.prepare()
    if signed is not None:
        ledger = Ledger(ORIGIN)
        for record in records[:signed]:
            ledger.add(record)
        publisher.publish(ledger.checkpoint(), ledger.leaves())


def stored(path: Path) -> list[bytes]:
    return folder_of(path).told_leaves(0, 1 << 20)


def recovered(path: Path) -> Ledger:
    file = LogFile.open_locked(path)
    try:
        return recover(file, Publisher(path, KEY, ORIGIN), ORIGIN)
    finally:
        file.close()


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-LOG")
def test_every_truncation_point_is_recovered_or_refused(tmp_path: Path) -> None:
    records, signed = lines(12), 5
    path = tmp_path / "log"
    written(path, records, signed)
    data, note = path.read_bytes(), (tmp_path / "log.tlog/checkpoint").read_bytes()
    vouched = sum(len(record) + 1 for record in records[:signed])
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        (tmp_path / "log.tlog/checkpoint").write_bytes(note)
        if end < vouched:
            with pytest.raises(Tampered, match="were signed"):
                recovered(path)
            assert path.read_bytes() == data[:end], "evidence is left as it is"
        else:
            whole = data[:end].count(b"\n")
            assert recovered(path).size == whole
            assert path.read_bytes() == b"".join(record + b"\n" for record in records[:whole])
            assert verify(path, KEY.public_key()).ok


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 700), st.data())
def test_recovery_signs_what_was_written_and_completes_the_leaf_hashes(
    tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject
) -> None:
    signed = data.draw(st.integers(0, count))
    torn = data.draw(st.sampled_from([b"", b"{", b'{"n":%d,"call":' % count, b"\x00" * 40]))
    path = tmp_path_factory.mktemp("log") / "log"
    written(path, lines(count), signed, torn)
    ledger = recovered(path)
    assert ledger.size == count
    assert read_checkpoint(path, KEY.public_key()) == ledger.checkpoint()
    assert verify(path, KEY.public_key()).ok
    assert stored(path) == [leaf_hash(line) for line in lines(count)]


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 3000), signed=st.integers(0, 3000), at=st.integers(0, 3000), cut=st.booleans())
def test_damaged_leaf_hashes_are_written_again(
    tmp_path_factory: pytest.TempPathFactory, count: int, signed: int, at: int, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    written(path, lines(count), min(signed, count))
    recovered(path)
    leaves = path.with_name("log.tlog") / "leaves"
    good, at = leaves.read_bytes(), min(at, count - 1) * 32
    leaves.write_bytes(good[:at] + (b"" if cut else bytes([good[at] ^ 1]) + good[at + 1 :]))
    recovered(path)
    assert stored(path) == [leaf_hash(line) for line in lines(count)]
    leaves.unlink()
    recovered(path)
    assert stored(path) == [leaf_hash(line) for line in lines(count)]


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("at", [0, 3, 4])
def test_an_edited_signed_record_is_refused(tmp_path: Path, at: int) -> None:
    path = tmp_path / "log"
    records = lines(8)
    written(path, records, 5)
    records[at] = records[at].replace(b"call", b"Call")
    path.write_bytes(b"".join(record + b"\n" for record in records))
    with pytest.raises(Tampered, match="not the ones"):
        recovered(path)


@pytest.mark.threat("T-LOG")
def test_misnumbered_records_beyond_the_checkpoint_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    records = lines(8)
    del records[6]
    written(path, records, 5)
    with pytest.raises(Tampered, match="is not record 6"):
        recovered(path)


@pytest.mark.threat("T-LOG")
def test_records_without_a_checkpoint_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, lines(3), None)
    with pytest.raises(Tampered, match="no checkpoint"):
        recovered(path)


@pytest.mark.threat("T-LOG")
def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, lines(3), 3)
    stranger = Publisher(path, Ed25519PrivateKey.generate(), ORIGIN)
    stranger.publish(Ledger(ORIGIN).checkpoint(), Ledger(ORIGIN).leaves())
    with pytest.raises(Tampered, match="another key"):
        recovered(path)


def test_a_new_log_starts_with_an_empty_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, [], None, torn=b'{"n":0')
    assert recovered(path).size == 0
    assert path.read_bytes() == b""
    assert read_checkpoint(path, KEY.public_key()).size == 0


def test_an_unprotected_log_is_counted_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"n":0}\n{"n":1}\n{"n"')
    file = LogFile.open_locked(path)
    assert count_records(file) == 2
    file.close()
    assert path.read_bytes() == b'{"n":0}\n{"n":1}\n'


class Watched(LogFile):
    """A file that tells what was done to it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        super().__init__(path, descriptor)
        self.done: list[str] = []

    def cut(self, length: int) -> None:
        self.done.append("cut")
        super().cut(length)

    def sync(self) -> None:
        self.done.append("sync")
        super().sync()


@pytest.mark.parametrize(("torn", "done"), [(b'{"n":3', ["cut", "sync"]), (b"", [])])
def test_a_cut_is_on_disk_before_other_bytes_take_the_place(
    tmp_path: Path, torn: bytes, done: list[str]
) -> None:
    path = tmp_path / "log"
    written(path, lines(3), 3, torn)
    file = Watched.open_locked(path)
    recover(file, Publisher(path, KEY, ORIGIN), ORIGIN)
    assert file.done == done
    file.close()
