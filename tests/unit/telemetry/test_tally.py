"""What is counted can be sent to another process and added up there."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sekisho.telemetry import Metrics, Tally
from sekisho.telemetry.tally import BOUNDS, Times

calls = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 100)), max_size=8)


def tally_of(made: list[tuple[str, str, float]]) -> Tally:
    metrics = Metrics()
    for plugin, tool, seconds in made:
        metrics.answered(plugin, tool, "ok", seconds)
    return metrics.tally


@given(calls)
def test_a_tally_arrives_as_it_was_sent(made: list[tuple[str, str, float]]) -> None:
    tally = tally_of(made)
    assert msgspec.json.decode(msgspec.json.encode(tally), type=Tally) == tally


@given(calls, calls)
def test_adding_counts_what_both_counted(
    one: list[tuple[str, str, float]], other: list[tuple[str, str, float]]
) -> None:
    total = tally_of(one)
    total.add(tally_of(other))
    together = tally_of(one + other)
    assert dict(_counts(total)) == dict(_counts(together))
    assert {name: times.counts for name, times in total.seconds.items()} == {
        name: times.counts for name, times in together.seconds.items()
    }


@given(st.floats(0, 100))
def test_a_time_counts_at_the_first_bound_that_holds_it(seconds: float) -> None:
    times = Times()
    times.observe(seconds)
    at = times.counts.index(1)
    assert sum(times.counts) == 1
    assert at == len(BOUNDS) or seconds <= BOUNDS[at]
    assert at == 0 or seconds > BOUNDS[at - 1]


@given(st.lists(st.floats(0, 100), max_size=8))
def test_answered_calls_are_timed_as_everything_else(seconds: list[float]) -> None:
    times = Times()
    for one in seconds:
        times.observe(one)
    assert tally_of([("a", "x", one) for one in seconds]).seconds.get("a", Times()) == times


def _counts(tally: Tally) -> list[tuple[tuple[str, ...], int]]:
    return [
        ((plugin, tool, outcome, code), count) for plugin, tool, outcome, code, count in tally.each_call()
    ]
