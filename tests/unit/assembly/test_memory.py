"""What was needed for a moment is given back."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("size", [16, 32, 48, 128, 512])
def test_after_settling_for_forks_hardly_anything_new_lies_between_old_things(size: int) -> None:
    child = f"""
import gc
from sekisho.assembly.memory import settle_for_forks
make = object if {size} == 16 else (lambda: ~(1 << 20)) if {size} == 32 else lambda: bytes({size} - 33)
old = [make() for _ in range(600)]
gaps = {{id(one) for one in old[::2]}}
del old[::2]
assert {{id(one) for one in [make() for _ in range(100)]}} & gaps, "there were gaps to fill"
settle_for_forks()
new = [make() for _ in range(1000)]
assert len(gaps & {{id(one) for one in new}}) < 20  # settling itself leaves a few
assert gc.get_freeze_count() > 1000
"""
    subprocess.run([sys.executable, "-c", child], check=True, timeout=60)


def test_settling_for_forks_ends_where_memory_comes_from_another_allocator() -> None:
    child = "from sekisho.assembly.memory import settle_for_forks; settle_for_forks()"
    words = [sys.executable, "-c", child]
    subprocess.run(words, check=True, timeout=60, env={"PYTHONMALLOC": "malloc"})
