"""The ledger offers files until they are stored."""

from __future__ import annotations

from sekisho.audit.ledger import Ledger
from sekisho.audit.tree import leaf_hash, root_of


def filled(count: int) -> Ledger:
    ledger = Ledger("log.example")
    for i in range(count):
        ledger.add(b"%d" % i)
    return ledger


def test_a_checkpoint_covers_every_record() -> None:
    checkpoint = filled(300).checkpoint()
    assert (checkpoint.origin, checkpoint.size) == ("log.example", 300)
    assert checkpoint.root == root_of([leaf_hash(b"%d" % i) for i in range(300)])


def test_full_files_are_offered_again_until_they_are_stored() -> None:
    ledger = filled(600)
    files = ledger.full_files()
    assert [bundle.index for bundle in files.bundles] == [0, 1]
    assert [(row.level, row.index) for row in files.tiles] == [(0, 0), (0, 1)]
    assert ledger.full_files() == files
    for i in range(600, 800):
        ledger.add(b"%d" % i)
    ledger.stored(files)
    assert [bundle.index for bundle in ledger.full_files().bundles] == [2]


def test_partial_files_hold_what_is_not_full() -> None:
    files = filled(258).partial_files()
    assert [bundle.entries for bundle in files.bundles] == [(b"256", b"257")]
    assert [(row.level, row.index, len(row.hashes)) for row in files.tiles] == [(0, 1, 2), (1, 0, 1)]
    assert filled(0).partial_files().bundles == ()
