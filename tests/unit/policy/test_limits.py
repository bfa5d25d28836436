"""GCRA: exact at the burst, exact after it, all or nothing, bounded."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy import RateLimiter, RateRule
from sekisho.policy.limits import next_arrival

NOW = 1_900_000_000.25
INSTANTS = st.lists(st.floats(min_value=0, max_value=600), max_size=60).map(sorted)


@pytest.mark.requirement("B6")
@pytest.mark.threat("T-FLOOD")
def test_the_call_after_the_burst_waits_for_exactly_one_interval() -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=100)
    assert [limiter.admit("a", rule, NOW) for _ in range(100)] == [0.0] * 100
    assert limiter.admit("a", rule, NOW) == pytest.approx(0.6)


@given(per_minute=st.integers(1, 5000), burst=st.integers(1, 5000))
def test_the_announced_wait_is_enough(per_minute: int, burst: int) -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=per_minute, burst=burst)
    for _ in range(burst):
        assert limiter.admit("a", rule, NOW) == 0.0
    wait_s = limiter.admit("a", rule, NOW)
    assert wait_s > 0
    assert limiter.admit("a", rule, NOW + wait_s) == 0.0


@given(instants=INSTANTS, per_minute=st.integers(1, 60), burst=st.integers(1, 10))
def test_no_window_ever_admits_more_than_the_rule_allows(
    instants: list[float], per_minute: int, burst: int
) -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=per_minute, burst=burst)
    admitted = [at for at in instants if limiter.admit("a", rule, NOW + at) == 0.0]
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            seconds = admitted[last] - admitted[first]
            assert last - first + 1 <= burst + seconds * per_minute / 60 + 0.01


def test_a_refused_call_costs_nothing() -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=60, burst=1)
    limiter.admit("a", rule, NOW)
    for _ in range(50):
        assert limiter.admit("a", rule, NOW + 0.5) == pytest.approx(0.5)
    assert limiter.admit("a", rule, NOW + 1.0) == 0.0


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("form", [list, tuple])
def test_of_several_keys_the_one_that_waits_longest_decides_wherever_it_stands(
    form: Callable[[Iterable[tuple[str, RateRule]]], Iterable[tuple[str, RateRule]]],
) -> None:
    rules = {"wide": RateRule(per_minute=60, burst=9), "slow": RateRule(per_minute=6, burst=1)}
    for keys in (("wide", "slow"), ("slow", "wide")):
        limiter = RateLimiter()
        charges = form((key, rules[key]) for key in keys)
        assert limiter.admit_all(charges, NOW) == 0.0
        assert limiter.admit_all(charges, NOW) == pytest.approx(10)


def test_time_in_which_nobody_calls_is_not_saved_up() -> None:
    rule, now_ns = RateRule(per_minute=60, burst=3), int(NOW * 1e9)
    for before in (0, now_ns - 1, now_ns):
        assert next_arrival(before, rule, now_ns) == now_ns + rule.interval_ns


def test_charging_two_keys_is_all_or_nothing() -> None:
    limiter = RateLimiter()
    wide, narrow = RateRule(per_minute=60, burst=2), RateRule(per_minute=60, burst=1)
    assert limiter.admit_all([("client", wide), ("plugin", narrow)], NOW) == 0.0
    for _ in range(10):
        assert limiter.admit_all([("client", wide), ("plugin", narrow)], NOW) > 0
    assert limiter.admit("client", wide, NOW) == 0.0


def test_a_key_named_twice_is_charged_twice() -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=60, burst=1)
    assert limiter.admit_all([("a", rule), ("a", rule)], NOW) > 0


def test_one_key_does_not_use_up_another() -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=1)
    assert limiter.admit(("client", "a"), rule, NOW) == 0.0
    assert limiter.admit(("client", "b"), rule, NOW) == 0.0


@pytest.mark.threat("T-FLOOD")
def test_invented_keys_neither_grow_the_memory_nor_reset_a_live_limit() -> None:
    limiter = RateLimiter(max_keys=3)
    rule = RateRule(per_minute=1)
    for key in "abc":
        assert limiter.admit(key, rule, NOW) == 0.0
    assert limiter.admit("d", rule, NOW) > 0
    assert limiter.admit("a", rule, NOW) > 0
    assert len(limiter) == 3


def test_expired_keys_make_room() -> None:
    limiter = RateLimiter(max_keys=3)
    rule = RateRule(per_minute=60)
    for key in "abc":
        limiter.admit(key, rule, NOW)
    assert limiter.admit("d", rule, NOW + 5) == 0.0
    assert len(limiter) == 1


def test_room_is_looked_for_again_where_the_clock_jumped_back() -> None:
    limiter, rule, before = RateLimiter(max_keys=2), RateRule(per_minute=60), NOW - 86_400
    assert [limiter.admit(key, rule, NOW) for key in "ab"] == [0.0, 0.0]
    assert limiter.admit("c", rule, NOW + 5) == 0.0  # it looked, and "a" and "b" were over
    assert limiter.admit("d", rule, before) == 0.0
    assert limiter.admit("e", rule, before + 5) == 0.0  # "d" is over, as of then
    assert len(limiter) == 2


def test_a_clock_that_jumps_back_costs_at_most_one_burst() -> None:
    limiter = RateLimiter()
    rule = RateRule(per_minute=60, burst=2)
    limiter.admit("a", rule, NOW)
    assert limiter.admit("a", rule, NOW - 86_400) <= 2.0


@pytest.mark.parametrize("bad", [0, -1])
def test_a_rate_that_admits_nothing_is_a_mistake(bad: int) -> None:
    with pytest.raises(Misconfigured):
        RateRule(per_minute=bad)
    with pytest.raises(Misconfigured):
        RateRule(per_minute=1, burst=bad)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.floats(0, 3, allow_nan=False)),
        max_size=40,
    )
)
def test_two_known_keys_are_charged_as_any_others_are(calls: list[tuple[str, str, float]]) -> None:
    quick, plain = RateLimiter(), RateLimiter()
    rules = {
        "a": RateRule(per_minute=60, burst=2),
        "b": RateRule(per_minute=600, burst=3),
        "c": RateRule(per_minute=6),
    }
    now = NOW
    for first, second, step in calls:
        now += step
        pair = ((first, rules[first]), (second, rules[second]))
        assert quick.admit_all(pair, now) == plain.admit_all(list(pair), now)
