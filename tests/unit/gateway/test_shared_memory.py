"""The file the workers share: ours alone, right after crashes, and every worker at its own place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.errors import Misconfigured
from sekisho.gateway import shared_memory
from sekisho.gateway.shared_memory import MAX_WORKERS, SharedMemory

HOLDER = """
import sys
from pathlib import Path
from sekisho.gateway import shared_memory
from sekisho.gateway.shared_memory import SharedMemory
memory = SharedMemory(Path(sys.argv[1]), int(sys.argv[2]))
memory.counters[memory.own_calls] += int(sys.argv[3])
row = memory.shares.row(bytes(range(16)))
memory.shares.counts[row.mine] += int(sys.argv[3])
if sys.argv[4] == "locked":
    memory.mutex.acquire()
print("here", flush=True)
sys.stdin.read()
"""


class Holder:
    """A worker in a process of its own that has calls under way."""

    def __init__(self, folder: Path, worker: int, calls: int, how: str = "free") -> None:
        words = [sys.executable, "-Ic", HOLDER, str(folder), str(worker), str(calls), how]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"here\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[SharedMemory]:
    made = SharedMemory(tmp_path, 0)
    yield made
    made.close()


def test_the_calls_of_all_workers_are_counted_and_those_of_a_killed_one_are_freed(
    tmp_path: Path, memory: SharedMemory
) -> None:
    other = Holder(tmp_path, 1, 5)
    memory.counters[memory.own_calls] += 2
    assert memory.in_flight() == 7
    assert memory.is_alive(1)
    assert not memory.free_the_dead()
    other.kill()
    assert not memory.is_alive(1)
    row = memory.shares.row(bytes(range(16)))
    assert row is not None
    assert sum(memory.shares.counts[row.first : row.last]) == 5
    assert memory.free_the_dead()
    assert memory.in_flight() == 2
    assert not any(memory.shares.counts[row.first : row.last])


def test_a_successor_starts_with_no_calls_and_waits_for_the_end_of_its_predecessor(
    tmp_path: Path, memory: SharedMemory
) -> None:
    Holder(tmp_path, 1, 5).kill()
    second = Holder(tmp_path, 1, 3)
    assert memory.in_flight() == 3
    second.kill()


def test_rates_and_endings_outlive_everybody_while_calls_and_a_held_lock_do_not(tmp_path: Path) -> None:
    first = SharedMemory(tmp_path, 0)
    digest = first.digest(b"client")
    first.rates.place(digest, 77, 0)
    first.count_ending()
    first.close()
    Holder(tmp_path, 1, 9, "locked").kill()
    second = SharedMemory(tmp_path, 3)
    assert second.digest(b"client") == digest
    assert second.rates.until(second.rates.find(digest)) == 77
    assert second.ended_count == 1
    assert second.in_flight() == 0
    second.mutex.acquire()
    second.mutex.release()
    second.close()


def test_the_lock_of_a_worker_that_was_killed_is_taken_over(tmp_path: Path, memory: SharedMemory) -> None:
    Holder(tmp_path, 1, 1, "locked").kill()
    memory.mutex.acquire()
    memory.mutex.release()


def test_names_are_keyed_by_installation(tmp_path: Path, memory: SharedMemory) -> None:
    (tmp_path / "other").mkdir()
    other = SharedMemory(tmp_path / "other", 0)
    assert memory.digest(b"client") != other.digest(b"client")
    other.close()


@pytest.mark.parametrize("name", ["core.shared", "core-0.alive"])
def test_a_file_that_others_may_touch_or_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch(0o666)
    (tmp_path / name).chmod(0o666)
    with pytest.raises(Misconfigured):
        SharedMemory(tmp_path, 0)
    (tmp_path / name).unlink()
    (tmp_path / "elsewhere").touch(0o600)
    (tmp_path / name).symlink_to("elsewhere")
    with pytest.raises(Misconfigured):
        SharedMemory(tmp_path, 0)


def test_a_file_of_another_version_is_made_anew_unless_somebody_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "core.shared"
    path.write_bytes(b"something else")
    path.chmod(0o600)
    memory = SharedMemory(tmp_path, 0)
    with path.open("r+b") as file:
        file.write(b"sekisho/shared/0")
    with pytest.raises(Misconfigured):
        SharedMemory(tmp_path, 1)
    memory.close()


def test_nobody_takes_the_place_of_a_worker_that_runs(
    tmp_path: Path, memory: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "PLACE_WAIT_S", 0.05)
    with pytest.raises(Misconfigured):
        SharedMemory(tmp_path, memory.worker)
    assert memory.is_alive(memory.worker)


def test_there_is_a_bound_of_workers(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        SharedMemory(tmp_path, MAX_WORKERS)


def test_a_worker_that_is_not_one_of_them_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        SharedMemory(tmp_path, 2, 2)


def test_other_workers_of_a_test_are_gone_at_its_end_stopped_or_not(memories: list[SharedMemory]) -> None:
    others = OtherWorkers()
    children = [others.stopped_in(memories[0]), others.pausing_after(lambda: None)]
    others.end()
    for child in children:
        with pytest.raises(ChildProcessError):  # ended, and collected
            os.waitpid(child, 0)
    with pytest.raises(AssertionError, match="did not do its work"):
        others.pausing_after(partial(os._exit, 0))
    others.end()
