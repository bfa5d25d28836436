"""From samples to figures. Pure: medians over rounds, and comparisons made within a round before the median is taken.

Two ways of one round ran within seconds of each other, so that whatever else the machine did hit both alike; two medians
of different rounds did not. A figure that cannot be had (a way was not measured) is None.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.measure import Sample

__all__ = ["Round", "cpu_ratio", "cpu_us", "difference", "events_per_call", "middle", "ratio", "sibling"]

Round = Mapping[str, Sample]  # by the name of the way; a way that failed in a round is not in it


def cpu_us(sample: Sample, part: str = "") -> float:
    """Processor time of one good call: of one part of the gateway, or of all."""
    return sample.cpu_us.get(part, 0.0) if part else sample.total_cpu_us


def middle(rounds: Sequence[Round], way: str, figure: Callable[[Sample], float]) -> float | None:
    """The median over rounds."""
    return _median([figure(one[way]) for one in rounds if way in one])


def ratio(
    rounds: Sequence[Round],
    way: str,
    other: str,
    figure: Callable[[Sample], float],
    other_figure: Callable[[Sample], float] | None = None,
) -> float | None:
    """How many times the other's figure; the median of the rounds' ratios."""
    below = other_figure or figure
    pairs = [(figure(one[way]), below(one[other])) for one in rounds if way in one and other in one]
    return _median([above / base for above, base in pairs if base > 0])


def cpu_ratio(rounds: Sequence[Round], way: str, other: str, part: str = "") -> float | None:
    """Processor time of a part of a way in multiples of all that the other one needs."""
    return ratio(rounds, way, other, lambda one: cpu_us(one, part), cpu_us)


def difference(
    rounds: Sequence[Round], way: str, other: str, figure: Callable[[Sample], float]
) -> float | None:
    """How much more than the other; the median of the rounds' differences."""
    return _median([figure(one[way]) - figure(one[other]) for one in rounds if way in one and other in one])


def events_per_call(rounds: Sequence[Round], way: str) -> float | None:
    """The fewest notifications per call that any round saw: one lost event is a loss."""
    seen = [one[way].events_per_call for one in rounds if way in one]
    return min(seen) if seen else None


def sibling(way: str, peer: str, measured: Sequence[str]) -> str | None:
    """The variant of the peer that ran under the conditions of this way: `nginx-tls` beside `sekisho-tls`."""
    for ending in ("-tls", "-many"):
        if way.endswith(ending) and peer + ending in measured:
            return peer + ending
    return next((one for one in (peer, f"{peer}-many") if one in measured), None)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
