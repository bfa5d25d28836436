"""The ledger offers leaf hashes until they are stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.audit.ledger import Leaves, Ledger
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


def test_leaf_hashes_are_offered_again_until_they_are_stored() -> None:
    ledger = filled(600)
    leaves = ledger.leaves()
    assert leaves == Leaves(0, b"".join(leaf_hash(b"%d" % i) for i in range(600)))
    assert ledger.leaves() == leaves
    ledger.extend([b"%d" % i for i in range(600, 800)])
    ledger.stored(leaves)
    assert ledger.leaves() == Leaves(600, b"".join(leaf_hash(b"%d" % i) for i in range(600, 800)))


@given(st.lists(st.integers(1, 700), max_size=5))
def test_records_in_runs_make_the_same_tree_as_one_by_one(runs: list[int]) -> None:
    ledger, size = Ledger("log.example"), 0
    for run in runs:
        ledger.extend([b"%d" % i for i in range(size, size + run)])
        size += run
    assert ledger.checkpoint() == filled(size).checkpoint()
