"""The trail takes in every record once, and notices when there are others than were counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.audit.counters import Counters, Extent
from sekisho.audit.ledger import Ledger
from sekisho.audit.logfile import LogFile
from sekisho.audit.notary import Notary
from sekisho.audit.publisher import Publisher
from sekisho.audit.shared_pen import SharedPen
from sekisho.audit.trail import FileTrail
from sekisho.audit.tree import leaf_hash, root_of
from sekisho.errors import Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def trail(path: Path) -> tuple[SharedPen, Notary, FileTrail]:
    pen = SharedPen(LogFile.open_unlocked(path), Counters.create(path.with_name("counters")))
    pen.counters.begin(path.stat(), Extent(0, 0), is_signed=True)
    notary = Notary(Ledger("log.example"), Publisher(path, KEY, "log.example"))
    return pen, notary, FileTrail(pen, notary, Extent(0, 0))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 65_000), min_size=1, max_size=4), max_size=6))
def test_every_record_is_taken_in_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    pen, notary, path = trail(tmp_path_factory.mktemp("log") / "log")
    records: list[bytes] = []
    for batch in batches:
        records += pen.write([b'{"a":"%b"}' % (b"x" * size) for size in batch])
        assert path.aim()
        while path.follow():
            pass
        assert notary.due().checkpoint.size == len(records)
    assert notary.due().checkpoint.root == root_of([leaf_hash(record) for record in records])
    pen.close()


def test_what_comes_after_the_mark_is_for_later(tmp_path: Path) -> None:
    pen, notary, path = trail(tmp_path / "log")
    pen.write([b'{"a":1}'])
    path.aim()
    pen.write([b'{"a":2}'])
    assert not path.follow()
    assert notary.due().checkpoint.size == 1
    assert not path.follow()
    path.aim()
    assert not path.follow()
    assert notary.due().checkpoint.size == 2
    path.signed(2)
    assert pen.counters.signed == 2


def test_there_is_no_aim_while_another_holds_the_turn(tmp_path: Path) -> None:
    pen, _, path = trail(tmp_path / "log")
    other = SharedPen(LogFile.open_unlocked(tmp_path / "log"), Counters.create(tmp_path / "counters"))
    other.turn.take()
    assert not path.aim()
    other.turn.give()
    assert path.aim()
    pen.close()
    other.close()


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("forged", [b'{"n":0,"a":1}\n{"n":1,"a":', b'{"n":0,"a":1}xxxxxxxxxxxxxx'])
def test_other_records_than_were_counted_stop_the_log(tmp_path: Path, forged: bytes) -> None:
    pen, _, path = trail(tmp_path / "log")
    pen.write([b'{"a":1}', b'{"a":2}'])
    (tmp_path / "log").write_bytes(forged.ljust(28, b"y"))
    assert path.aim()
    with pytest.raises(Tampered, match="counted"):
        list(iter(path.follow, False))
    assert pen.counters.is_stopped
