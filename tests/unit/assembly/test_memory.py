"""What was needed for a moment is given back."""

from __future__ import annotations

import gc

from sekisho.assembly.memory import give_back, resident_bytes, settle


def test_memory_is_measured_and_giving_back_harms_nothing() -> None:
    before = resident_bytes()
    assert before > 1 << 20
    pieces = [bytes(100_000) for _ in range(200)]
    assert resident_bytes() > 0
    del pieces
    give_back()
    assert resident_bytes() < before + (15 << 20)


def test_what_is_settled_is_no_longer_looked_through() -> None:
    try:
        settle()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
