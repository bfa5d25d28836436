"""What a run has found so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.figures import Round
from bench.measure import Sample
from bench.workloads import Workload

__all__ = ["Findings", "Measured"]


@dataclass(slots=True, kw_only=True)
class Measured:
    """One workload: its rounds, and why a way could not be measured."""

    workload: Workload
    ways: tuple[str, ...]
    rounds: list[Round] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    fdatasync_us: list[float] = field(default_factory=list)
    paced_fdatasync_us: list[float] = field(default_factory=list)

    @property
    def measured(self) -> tuple[str, ...]:
        """The ways with at least one sample."""
        return tuple(way for way in self.ways if any(way in one for one in self.rounds))

    def samples(self, way: str) -> Sequence[Sample]:
        """Of all rounds."""
        return [one[way] for one in self.rounds if way in one]

    def parts(self, way: str) -> tuple[str, ...]:
        """The parts of a gateway that consists of several."""
        found = {part for sample in self.samples(way) for part in sample.cpu_us}
        return tuple(sorted(found)) if len(found) > 1 else ()


@dataclass(slots=True, kw_only=True)
class Findings:
    """Everything: workloads, and single figures by name (the unit is the end of the name).

    `is_whole` says that nothing was left out by choice, so that what is missing is worth a line.
    """

    is_whole: bool = True
    workloads: list[Measured] = field(default_factory=list)
    singles: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
