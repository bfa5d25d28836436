"""A run: every workload, every round, every way in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.measure import Pace, Sample, measure
from bench.peers import LABELS, STARTS
from bench.processes import BenchFailed
from bench.results import Measured
from bench.stage import Stage
from bench.workloads import Workload

__all__ = ["run_workloads"]

Tell = Callable[[str], None]


def run_workloads(
    stage: Stage, workloads: Sequence[Workload], ways: frozenset[str], *, rounds: int, pace: Pace, tell: Tell
) -> Iterator[Measured]:
    """Measure one workload after the other; `tell` hears what is being done, once for each cell."""
    for workload in workloads:
        one = Measured(workload=workload, ways=tuple(way for way in workload.ways if way in ways))
        for way in one.ways:
            _start(stage, one, way, tell)
        for number in range(rounds):
            shift = number % len(one.ways)  # no way is always the first after a pause
            one.rounds.append(dict(_round(stage, one, (*one.ways[shift:], *one.ways[:shift]), pace, tell)))
        yield one


def _start(stage: Stage, one: Measured, way: str, tell: Tell) -> None:
    tell(f"starting {LABELS[way]}")
    try:
        if one.workload.era not in stage.way(way, STARTS[way]).eras:
            one.absent[way] = f"does not speak the {one.workload.era} era"
    except BenchFailed as error:
        one.absent[way] = str(error)[:400]


def _round(
    stage: Stage, one: Measured, ways: Sequence[str], pace: Pace, tell: Tell
) -> Iterator[tuple[str, Sample]]:
    for way in ways:
        tell(f"{one.workload.name}: {LABELS[way]}")
        if way in one.absent:
            continue
        try:
            sample = measure(stage.way(way, STARTS[way]), one.workload, pace)
        except BenchFailed as error:
            one.absent[way] = str(error)[:400]
            continue
        if sample.good:
            yield way, sample
        else:  # it will do no better in the next round
            one.absent[way] = f"no good answer: {sample.first_bad}"
