"""What was needed for a moment is given back."""

from __future__ import annotations

from sekisho.assembly.memory import give_back, resident_bytes


def test_memory_is_measured_and_giving_back_harms_nothing() -> None:
    before = resident_bytes()
    assert before > 1 << 20
    pieces = [bytes(100_000) for _ in range(200)]
    assert resident_bytes() > 0
    del pieces
    give_back()
    assert resident_bytes() < before + (15 << 20)
