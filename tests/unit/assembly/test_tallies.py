"""The page of all workers: counts add up, survive a restart of their worker, and end with the house."""

from __future__ import annotations

from pathlib import Path

from sekisho.assembly.tallies import Tallies
from sekisho.telemetry import Metrics


def worker(folder: Path, number: int) -> tuple[Metrics, Tallies]:
    metrics = Metrics()
    tallies = Tallies(folder, number, metrics)
    tallies.take_over()
    return metrics, tallies


def calls(page: tuple[str, bytes]) -> float:
    lines = [line for line in page[1].decode().splitlines() if line.startswith("sekisho_calls_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_the_page_of_the_leader_speaks_for_all(tmp_path: Path) -> None:
    (one, page), (other, shown) = worker(tmp_path, 0), worker(tmp_path, 1)
    for number, metrics in ((2, one), (3, other)):
        for _ in range(number):
            metrics.answered("calc", "add", "ok", 0.01)
    assert calls(page.page([1])) == 2
    shown.write()
    assert calls(page.page([1, 2])) == 5


def test_a_restarted_worker_goes_on_counting_and_forgets_what_was_under_way(tmp_path: Path) -> None:
    before, shown = worker(tmp_path, 1)
    before.answered("calc", "add", "ok", 0.01)
    before.refused("calc", "add", "rate_limited")
    before.plugin_state("calc", is_up=True, restarts=4)
    before.tally.in_flight = 7
    shown.write()
    after, again = worker(tmp_path, 1)
    after.answered("calc", "add", "ok", 0.01)
    after.plugin_state("calc", is_up=True, restarts=4)
    assert calls(again.page([])) == 3
    assert after.tally.in_flight == 0
    assert after.tally.restarts == {"calc": 4}


def test_counts_of_another_house_and_damaged_files_are_not_taken(tmp_path: Path) -> None:
    before, shown = worker(tmp_path, 1)
    before.answered("calc", "add", "ok", 0.01)
    shown.write()
    path = tmp_path / "core-1.tally"
    path.write_bytes(path.read_bytes().replace(b'"house":', b'"house":1', 1))
    assert calls(worker(tmp_path, 0)[1].page([1])) == 0
    path.write_bytes(b"{")
    assert calls(worker(tmp_path, 0)[1].page([1])) == 0


def test_a_full_disk_costs_nothing_but_freshness(tmp_path: Path) -> None:
    metrics, shown = worker(tmp_path / "gone", 1)
    metrics.answered("calc", "add", "ok", 0.01)
    shown.write()
    (tmp_path / "gone").mkdir()
    shown.write()
    assert (tmp_path / "gone" / "core-1.tally").exists()
