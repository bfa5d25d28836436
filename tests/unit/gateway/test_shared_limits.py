"""Limits of all workers together: exactly those of one limiter, counted in real processes, killed ones too."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.gateway.shared_limits import SharedLimiter
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.policy import RateLimiter, RateRule

NOW = 1_800_000_000.0
WORKER = """
import sys
from pathlib import Path
from sekisho.errors import Unavailable
from sekisho.gateway.shared_limits import SharedLimiter
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.policy import RateRule
folder, worker, tries, now, plugin = sys.argv[1:6]
limiter = SharedLimiter(SharedMemory(Path(folder), int(worker)))
client_rule, plugin_rule = RateRule(per_minute=600, burst=1000), RateRule(per_minute=600, burst=int(plugin))
print("ready", flush=True)
sys.stdin.readline()
admitted = 0
for number in range(int(tries)):
    charges = ((("client", "aya"), client_rule), (("plugin", "calc"), plugin_rule))
    try:
        admitted += limiter.admit_all(charges, float(now) + number * 1e-4) == 0.0
    except Unavailable as error:  # whoever has the lock did not run for half a second: refused, and charged nowhere
        if error.code != "busy":
            raise
print(admitted, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[SharedMemory]:
    made = SharedMemory(tmp_path, 0)
    yield made
    made.close()


class _Crowded(SharedMemory):
    """Where every new name falls into one bucket."""

    def __init__(self, folder: Path, worker: int, like: bytes) -> None:
        super().__init__(folder, worker)
        self._like = like

    def digest(self, text: bytes) -> bytes:
        return self._like[:4] + super().digest(text)[4:]


def crowd(
    folder: Path, workers: int, tries: int, plugin_burst: int, last_is_later_s: float = 0.0
) -> list[subprocess.Popen[bytes]]:
    """Workers in processes of their own, all started and waiting for a word; the last one's clock may be later."""
    words = [sys.executable, "-Ic", WORKER, str(folder)]
    made = [
        subprocess.Popen(
            [
                *words,
                str(worker),
                str(tries),
                str(NOW + last_is_later_s * (worker == workers)),
                str(plugin_burst),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for worker in range(1, workers + 1)
    ]
    for process in made:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    return made


def go(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()


def count(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    found = []
    for process in processes:
        output, _ = process.communicate(b"end\n", timeout=60)
        found.append(int(output))
    return found


def alone(tries: int, plugin_burst: int, workers: int = 1) -> int:
    """What one limiter admits of the same calls."""
    limiter = RateLimiter()
    client, plugin = RateRule(per_minute=600, burst=1000), RateRule(per_minute=600, burst=plugin_burst)
    return sum(
        limiter.admit_all(((("client", "aya"), client), (("plugin", "calc"), plugin)), NOW + number * 1e-4)
        == 0.0
        for number in range(tries)
        for _ in range(workers)
    )


@pytest.mark.requirement("A2.1")
@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_together_admit_exactly_what_one_would(tmp_path: Path, workers: int) -> None:
    processes = crowd(tmp_path, workers, tries=6_000, plugin_burst=5_000)
    go(processes)
    admitted = count(processes)
    assert sum(admitted) == alone(6_000, 5_000, workers)


@pytest.mark.threat("T-FLOOD")
def test_a_call_refused_by_one_limit_charges_no_other(tmp_path: Path, memory: SharedMemory) -> None:
    processes = crowd(tmp_path, 3, tries=3_000, plugin_burst=40)
    go(processes)
    total = sum(count(processes))
    assert total == alone(3_000, 40, 3)
    client = RateRule(per_minute=600, burst=1000)
    limiter, left = SharedLimiter(memory), 0
    while limiter.admit(("client", "aya"), client, NOW + 0.3) == 0.0:
        left += 1
    assert left == 1000 + int(0.3 * 10) - total  # ten a second come back


@pytest.mark.threat("T-FLOOD")
def test_a_worker_killed_in_the_middle_leaves_no_wrong_limit(tmp_path: Path, memory: SharedMemory) -> None:
    # However far the two come before they are killed, a later clock finds the bucket full again.
    processes = crowd(tmp_path, 3, tries=200_000, plugin_burst=500, last_is_later_s=1_000.0)
    go(processes)
    limiter = SharedLimiter(memory)
    client = RateRule(per_minute=600, burst=1000)
    for process in processes[:2]:
        limiter.admit_all(((("client", "ben"), client),), NOW)
        process.kill()
        process.communicate(timeout=30)
    rest = count(processes[2:])[0]
    assert 0 < rest <= alone(200_000, 500)
    # the lock is free, and nobody else was charged for the dead
    assert limiter.admit(("client", "chi"), client, NOW) == 0.0


steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 40_000), st.booleans()),
    max_size=60,
)


@given(steps)
def test_it_judges_every_sequence_as_the_plain_limiter_does(steps: list[tuple[str, str, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memories = [SharedMemory(Path(folder), worker) for worker in range(2)]
        workers = [SharedLimiter(memory) for memory in memories]
        plain, now = RateLimiter(), NOW
        small, large = RateRule(per_minute=60, burst=3), RateRule(per_minute=600, burst=4)
        for client, plugin, passed_ms, second in steps:
            now += passed_ms / 1000
            charges = ((("client", client), small), (("plugin", plugin), large))
            assert workers[second].admit_all(charges, now) == plain.admit_all(charges, now)
        for memory in memories:
            memory.close()


def test_a_limit_outlives_a_restart_of_everybody(tmp_path: Path) -> None:
    rule = RateRule(per_minute=1)
    for expected in (0.0, 60.0):
        memory = SharedMemory(tmp_path, 0)
        assert SharedLimiter(memory).admit("a", rule, NOW) == pytest.approx(expected)
        memory.close()


@pytest.mark.threat("T-FLOOD")
def test_a_key_without_room_waits_and_a_living_one_keeps_its_limit(
    tmp_path: Path, memory: SharedMemory
) -> None:
    rule = RateRule(per_minute=1)
    limiter = SharedLimiter(memory)
    assert limiter.admit("a", rule, NOW) == 0.0
    digest = memory.digest(b'"a"')
    filler = 0
    while memory.rates.place(digest[:4] + filler.to_bytes(12, "big"), 1 << 62, 0) >= 0:
        filler += 1
    assert filler == 31
    full = _Crowded(tmp_path, 1, digest)
    assert SharedLimiter(full).admit("b", rule, NOW) == 1.0
    full.close()
    assert limiter.admit("a", rule, NOW) > 0.0
