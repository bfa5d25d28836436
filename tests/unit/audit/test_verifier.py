"""The verifier notices every change, names it where it can, and never cries wolf."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.audit.ledger import Ledger
from sekisho.audit.publisher import Publisher
from sekisho.audit.redo import BLOCK_BYTES, HEAD_BYTES, seal
from sekisho.audit.verifier import read_checkpoint, verify
from sekisho.errors import Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
ORIGIN = "gateway.example/audit"


def lines(count: int) -> list[bytes]:
    return [b'{"n":%d,"call":"c%d"}' % (i, i) for i in range(count)]


def put(path: Path, records: list[bytes]) -> None:
    path.write_bytes(b"".join(record + b"\n" for record in records))


def logged(path: Path, records: list[bytes], signed: int | None = None) -> None:
    put(path, records)
    ledger = Ledger(ORIGIN)
    for record in records[:signed]:
        ledger.add(record)
    publisher = Publisher(path, KEY, ORIGIN)
    publisher.prepare()
    publisher.publish(ledger.checkpoint(), ledger.leaves())


@given(st.integers(0, 600), st.integers(0, 10))
@settings(max_examples=25, deadline=None)
def test_an_honest_log_is_right(tmp_path_factory: pytest.TempPathFactory, count: int, more: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    logged(path, lines(count + more), count)
    report = verify(path, PUBLIC, origin=ORIGIN)
    assert report.ok
    assert (report.records, report.size, report.unsigned) == (count + more, count, more)
    assert report.root == read_checkpoint(path, PUBLIC).root.hex()


@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
def test_every_single_bit_flip_of_the_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(12))
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        assert not verify(path, PUBLIC).ok, f"bit {bit}"


@pytest.mark.threat("T-LOG")
def test_every_single_bit_flip_of_the_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(4))
    note = tmp_path / "log.tlog/checkpoint"
    data = note.read_bytes()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        note.write_bytes(changed)
        assert not verify(path, PUBLIC).ok, f"bit {bit}"


@pytest.mark.threat("T-LOG")
def test_every_truncation_of_a_signed_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(12))
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        assert not verify(path, PUBLIC).ok, f"cut at {end}"


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("at", [0, 255, 256, 299])
def test_an_edited_record_is_named(tmp_path: Path, at: int) -> None:
    path = tmp_path / "log"
    records = lines(300)
    logged(path, records)
    records[at] = records[at].replace(b"call", b"Call")
    put(path, records)
    report = verify(path, PUBLIC)
    assert [(p.index, p.what) for p in report.problems][:1] == [(at, "was changed")]
    assert "not the ones that were signed" in report.problems[-1].what


@pytest.mark.threat("T-LOG")
def test_a_removed_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    records = lines(20)
    logged(path, records)
    del records[7]
    put(path, records)
    report = verify(path, PUBLIC)
    found = report.problems
    said = [(p.index, p.what) for p in found if "says that it is" in p.what]
    assert said == [(7, "says that it is number 8")]  # and not of each record behind it
    assert (report.records, report.size, report.unsigned) == (19, 20, 0)
    assert any("20 records were signed, 19 are left" in p.what for p in found)


@pytest.mark.threat("T-LOG")
def test_exchanged_and_inserted_records_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    records = lines(20)
    logged(path, records)
    exchanged = records.copy()
    exchanged[3], exchanged[4] = exchanged[4], exchanged[3]
    put(path, exchanged)
    assert {3, 4} <= {p.index for p in verify(path, PUBLIC).problems}
    put(path, [*records[:5], b"not a record", *records[5:]])
    assert (5, "is not a record") in [(p.index, p.what) for p in verify(path, PUBLIC).problems]


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xfe",
        b'{"n":"\xff"}',
        b"[" * 5000 + b"]" * 5000,
        b'{"n":' + b"[" * 5000,
        b'{"m":0,"n":5,"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_lines_an_intruder_wrote_are_named_and_do_not_stop_the_verifier(
    tmp_path: Path, hostile: bytes
) -> None:
    path = tmp_path / "log"
    logged(path, lines(8))
    records = lines(8)
    records[5] = hostile
    put(path, records)
    assert (5, "is not a record") in [(p.index, p.what) for p in verify(path, PUBLIC).problems]


@pytest.mark.threat("T-LOG")
def test_a_whole_log_rewritten_without_the_key_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(20))
    forger = Ed25519PrivateKey.generate()
    forged = [line.replace(b"call", b"Call") for line in lines(20)]
    ledger = Ledger(ORIGIN)
    for record in forged:
        ledger.add(record)
    put(path, forged)
    Publisher(path, forger, ORIGIN).publish(ledger.checkpoint(), ledger.leaves())
    assert not verify(path, PUBLIC).ok


@pytest.mark.threat("T-LOG")
def test_a_return_to_an_older_state_is_noticed_with_a_checkpoint_kept_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(10))
    older = tmp_path / "older"
    shutil.copytree(tmp_path / "log.tlog", older)
    logged(path, lines(20))
    kept = read_checkpoint(path, PUBLIC)
    put(path, lines(10))
    shutil.rmtree(tmp_path / "log.tlog")
    older.rename(tmp_path / "log.tlog")
    assert verify(path, PUBLIC).ok
    report = verify(path, PUBLIC, known=[kept])
    assert [p.what for p in report.problems] == ["20 records were signed, 10 are left"]


def test_a_log_that_grew_still_contains_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(10))
    kept = read_checkpoint(path, PUBLIC)
    logged(path, lines(300))
    assert verify(path, PUBLIC, known=[kept]).ok


def test_a_missing_checkpoint_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(3))
    (tmp_path / "log.tlog/checkpoint").unlink()
    assert [p.what for p in verify(path, PUBLIC).problems] == ["the log has no checkpoint"]


def test_a_torn_end_beyond_the_checkpoint_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(5), 3)
    with path.open("ab") as file:
        file.write(b'{"n":5,"ca')
    assert [(p.index, p.what) for p in verify(path, PUBLIC).problems] == [(5, "the last record is torn off")]


def test_damaged_leaf_hashes_cannot_accuse_a_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    records = lines(300)
    logged(path, records)
    leaves = tmp_path / "log.tlog/leaves"
    leaves.write_bytes(bytes(32) + leaves.read_bytes()[32:])
    assert verify(path, PUBLIC).ok
    records[9] = records[9].replace(b"call", b"Call")
    put(path, records)
    assert [p.index for p in verify(path, PUBLIC).problems] == [None]


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(9000))
    steps: list[tuple[int, int]] = []
    verify(path, PUBLIC, on_progress=lambda done, total: steps.append((done, total)))
    assert len(steps) == 3
    assert steps == sorted(steps)
    assert steps[-1] == (path.stat().st_size, path.stat().st_size)


def test_problems_stay_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(2000))
    put(path, [b"x"] * 2000)
    assert 0 < len(verify(path, PUBLIC).problems) <= 100


def test_an_absent_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        verify(tmp_path / "absent", PUBLIC)


@pytest.mark.threat("T-LOG")
def test_an_end_that_only_the_redo_file_has_is_told_and_one_that_the_log_has_is_not(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, lines(5), 3)
    data = path.read_bytes()
    piece = bytearray(HEAD_BYTES) + data
    seal(memoryview(piece), 0, 0, len(data))
    (tmp_path / "log.tlog" / "redo").write_bytes(bytes(BLOCK_BYTES) + piece)
    assert verify(path, PUBLIC).ok
    put(path, lines(4))
    report = verify(path, PUBLIC)
    assert [problem.index for problem in report.problems] == [None]
    assert f"{len(lines(5)[4]) + 1} bytes were lost in a crash" in report.problems[0].what
