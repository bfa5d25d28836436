"""A run: every workload, every round, every way in turn; then what is no workload."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.cold import measure_starts
from bench.disk import fdatasync_us, pause_s, waiting
from bench.handshake import measure_handshakes
from bench.measure import Pace, Sample, measure
from bench.memory import measure_memory
from bench.peers import LABELS, STARTS
from bench.processes import BenchFailed
from bench.relays import measure_relays
from bench.results import Findings, Measured
from bench.stage import Stage
from bench.walls import measure_walls
from bench.workloads import Workload

__all__ = ["Plan", "count_steps", "run"]

Tell = Callable[[str], None]
Single = Callable[[], dict[str, float]]
WALLS_PER_START = 8
HANDSHAKES_PER_START = 5  # pairs of them differ by a fifth on a machine that others use as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and how thoroughly."""

    workloads: tuple[Workload, ...]
    ways: frozenset[str]
    rounds: int
    starts: int
    pace: Pace
    only: str = ""


def run(stage: Stage, plan: Plan, tell: Tell) -> Findings:
    """Measure everything; `tell` hears what is being done, before each step."""
    found = Findings(is_whole=not plan.only)
    for workload in plan.workloads:
        one = _measure(stage, plan, workload, tell)
        found.workloads.append(one)
        found.singles |= waiting(one)
    for name, measure_single in _singles(stage, plan).items():
        tell(name)
        try:
            found.singles |= measure_single()
        except (BenchFailed, OSError) as error:
            found.absent[name] = str(error)
    return found


def count_steps(plan: Plan) -> int:
    """How often `run` will tell."""
    ways = sum(len(plan.ways.intersection(one.ways)) for one in plan.workloads)
    return ways * (1 + plan.rounds) + len(_names(plan))


def _measure(stage: Stage, plan: Plan, workload: Workload, tell: Tell) -> Measured:
    one = Measured(workload=workload, ways=tuple(way for way in workload.ways if way in plan.ways))
    for way in one.ways:
        tell(f"starting {LABELS[way]}")
        _start(stage, one, way)
    for number in range(plan.rounds):
        shift = number % len(one.ways)  # no way is always the first after a pause
        order = (*one.ways[shift:], *one.ways[:shift])
        one.rounds.append(dict(_round(stage, one, order, plan.pace, tell)))
        if workload.waits_for_disk:
            one.fdatasync_us.append(fdatasync_us(stage.folder))
            one.paced_fdatasync_us.append(fdatasync_us(stage.folder, pause_s(one.rounds[-1])))
    return one


def _start(stage: Stage, one: Measured, way: str) -> None:
    try:
        if one.workload.era not in stage.way(way, STARTS[way]).eras:
            one.absent[way] = f"does not speak the {one.workload.era} era"
    except BenchFailed as error:
        one.absent[way] = str(error)


def _round(
    stage: Stage, one: Measured, order: Sequence[str], pace: Pace, tell: Tell
) -> Iterator[tuple[str, Sample]]:
    for way in order:
        tell(f"{one.workload.name}: {LABELS[way]}")
        if way in one.absent:
            continue
        try:
            sample = measure(stage.way(way, STARTS[way]), one.workload, pace)
        except BenchFailed as error:
            one.absent[way] = str(error)
            continue
        if sample.good:
            yield way, sample
        else:  # it will do no better in the next round
            one.absent[way] = f"no good answer: {sample.first_bad or 'none in time'}"


def _names(plan: Plan) -> tuple[str, ...]:
    return tuple(
        name for name in ("memory", "starts", "walls", "handshakes", "relays") if plan.only.lower() in name
    )


def _singles(stage: Stage, plan: Plan) -> dict[str, Single]:
    every: dict[str, Single] = {
        "memory": lambda: measure_memory(stage),
        "starts": lambda: measure_starts(stage, plan.starts),
        "walls": lambda: measure_walls(plan.starts * WALLS_PER_START),
        "handshakes": lambda: measure_handshakes(plan.starts * HANDSHAKES_PER_START),
        "relays": lambda: measure_relays(plan.rounds),
    }
    return {name: every[name] for name in _names(plan)}
