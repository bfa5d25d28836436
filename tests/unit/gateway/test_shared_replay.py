"""Proofs are remembered by all workers together, within bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.gateway import SharedMemory, SharedReplay
from sekisho.gateway.shared_replay import FILE, SHARE
from sekisho.keys import PROOF_LIFE_S, Replay, SeenProofs

pytestmark = pytest.mark.threat("T-TOKEN-STOLEN")

NOW = 1_800_000_000.0
Join = Callable[[int], SharedReplay]
ADMIT_ALL = """
import sys
from pathlib import Path
from sekisho.gateway import SharedMemory, SharedReplay
replay = SharedReplay(SharedMemory(Path(sys.argv[1]), int(sys.argv[2])), buckets=64)
print(sum(replay.admit("key", str(number), float(sys.argv[3])) for number in range(10)))
"""


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """Another worker of the same house."""
    made: list[tuple[SharedReplay, SharedMemory]] = []

    def worker(number: int) -> SharedReplay:
        memory = SharedMemory(tmp_path, number)
        made.append((SharedReplay(memory, buckets=64), memory))
        return made[-1][0]

    yield worker
    for replay, memory in made:
        replay.close()
        memory.close()


def test_a_proof_admitted_by_one_worker_is_refused_by_every_worker(join: Join) -> None:
    one, other = join(0), join(1)
    assert one.admit("key", "proof", NOW)
    assert [each.admit("key", "proof", NOW + PROOF_LIFE_S - 1) for each in (one, other)] == [False, False]
    assert other.admit("key", "another proof", NOW)
    assert other.admit("another key", "proof", NOW)


def test_a_restart_forgets_no_proof(tmp_path: Path) -> None:
    for expected in (True, False):
        memory = SharedMemory(tmp_path, 0)
        replay = SharedReplay(memory, buckets=64)
        assert replay.admit("key", "proof", NOW) is expected
        replay.close()
        memory.close()


def test_workers_that_start_together_admit_each_proof_once(tmp_path: Path) -> None:
    def admitted(worker: int) -> int:
        words = [sys.executable, "-c", ADMIT_ALL, str(tmp_path), str(worker), str(NOW)]
        return int(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(admitted, range(3))) == 10


def test_a_proof_that_can_no_longer_be_valid_makes_room(join: Join) -> None:
    replay = join(0)
    assert replay.admit("key", "proof", NOW)
    assert replay.admit("key", "proof", NOW + PROOF_LIFE_S + 1)
    assert not replay.admit("key", "proof", NOW + PROOF_LIFE_S + 2)


@pytest.mark.threat("T-FLOOD")
def test_one_key_fills_no_more_than_its_share_and_others_are_still_admitted(tmp_path: Path) -> None:
    memory = SharedMemory(tmp_path, 0, 2)
    replay = SharedReplay(memory, buckets=64)
    share = 64 * 32 // SHARE // 2
    assert sum(replay.admit("greedy", str(number), NOW) for number in range(2 * share)) == share
    assert replay.admit("modest", "1", NOW)
    assert replay.admit("greedy", "later", NOW + PROOF_LIFE_S)
    replay.close()
    memory.close()


@pytest.mark.threat("T-FLOOD")
def test_what_cannot_be_remembered_is_refused_and_nothing_is_forgotten(tmp_path: Path) -> None:
    memory = SharedMemory(tmp_path, 0, 1)
    replay = SharedReplay(memory, buckets=1)
    admitted = [f"key {number}" for number in range(40) if replay.admit(f"key {number}", "p", NOW)]
    assert len(admitted) == 32
    assert not any(replay.admit(key, "p", NOW + 1) for key in admitted)
    assert replay.admit("key 39", "p", NOW + PROOF_LIFE_S + 1)
    replay.close()
    memory.close()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "3"]), st.integers(0, 120))))
def test_it_says_what_the_memory_of_one_process_says_within_one_life(
    tmp_path_factory: pytest.TempPathFactory, shown: list[tuple[str, str, int]]
) -> None:
    memory = SharedMemory(tmp_path_factory.mktemp("run"), 0)
    shared = SharedReplay(memory, buckets=64)
    both: tuple[Replay, Replay] = (shared, SeenProofs())
    for jkt, jti, after_s in sorted(shown, key=lambda one: one[2]):
        said = [one.admit(jkt, jti, NOW + after_s) for one in both]
        assert said[0] == said[1]
    shared.close()
    memory.close()


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(mode=0o644)
    memory = SharedMemory(tmp_path, 0)
    with pytest.raises(Misconfigured, match="not ours alone"):
        SharedReplay(memory)
    memory.close()
