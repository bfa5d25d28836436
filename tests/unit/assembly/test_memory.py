"""What was needed for a moment is given back."""

from __future__ import annotations

import gc
import subprocess
import sys

from sekisho.assembly.memory import give_back, resident_bytes, settle


def test_memory_is_measured_and_giving_back_harms_nothing() -> None:
    before = resident_bytes()
    assert before > 1 << 20
    pieces = [bytes(100_000) for _ in range(200)]
    assert resident_bytes() > 0
    del pieces
    give_back()
    assert resident_bytes() < before + (15 << 20)


def test_memory_of_a_large_message_is_kept_for_the_next_and_can_be_given_back() -> None:
    child = """
import resource
from sekisho.assembly.memory import give_back, keep_between_calls, resident_bytes

def fetched():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_between_calls()
before = resident_bytes()
pieces = [b"x" * 1_000_000 for _ in range(5)]
del pieces
start = fetched()
for _ in range(50):
    pieces = [b"x" * 1_000_000 for _ in range(5)]
    del pieces
assert fetched() - start < 1000, "fetched anew"
pieces = [b"x" * 1_000_000 for _ in range(100)]
del pieces
give_back()
assert resident_bytes() < before + (4 << 20)
"""
    subprocess.run([sys.executable, "-c", child], check=True, timeout=30)


def test_what_is_settled_is_no_longer_looked_through() -> None:
    try:
        settle()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
