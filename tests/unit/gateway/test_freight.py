"""Freight: as many bytes as may be under way, of one client and of all, at all workers together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.other_workers import OtherWorkers

from sekisho.gateway.freight import STRANGERS, Freight, FreightLimits, too_much
from sekisho.gateway.seats import LocalSeats, SharedSeats
from sekisho.gateway.shared_memory import SharedMemory

pytestmark = pytest.mark.threat("T-FLOOD")

MB = 1 << 20
LIMITS = FreightLimits(total=8 * MB, of_client=4 * MB)
ALMOST = MB - 1  # a MiB is counted as one KiB more


@pytest.fixture(params=["alone", "shared"])
def both(request: pytest.FixtureRequest, memories: list[SharedMemory]) -> tuple[Freight, Freight]:
    """The freight of one process twice, or of two workers."""
    if request.param == "alone":
        freight = Freight(LIMITS)
        return freight, freight
    one, two = (Freight(LIMITS, SharedSeats(memories[at], "bytes")) for at in range(2))
    return one, two


def test_a_client_has_as_many_bytes_as_it_may_and_others_have_theirs(both: tuple[Freight, Freight]) -> None:
    one, two = both
    assert [freight.take("aya", ALMOST) for freight in (one, two, one, two, one)] == [True] * 4 + [False]
    assert not two.has_room("aya", ALMOST)
    assert two.has_room("ben", ALMOST)
    assert [two.take("ben", ALMOST) for _ in range(4)] == [True] * 4
    assert not one.take("cay", ALMOST)  # the house has no more
    one.give("aya", ALMOST)
    assert two.take("cay", ALMOST)
    assert not one.take("aya", ALMOST)


def test_a_single_large_one_passes_where_there_is_nothing_else(both: tuple[Freight, Freight]) -> None:
    one, two = both
    assert one.take("aya", 20 * MB)
    assert not two.take("aya", MB)
    assert not two.take("ben", MB)
    one.give("aya", 20 * MB)
    assert two.take("ben", MB)
    assert not one.take("aya", 20 * MB)


def test_a_refused_one_leaves_nothing_behind(both: tuple[Freight, Freight]) -> None:
    one, two = both
    assert one.take("aya", 4 * ALMOST)
    assert two.take("ben", 3 * ALMOST)
    for _ in range(9):
        assert not one.take("cay", 2 * ALMOST)
    assert one.take("cay", ALMOST)


def _load(folder: Path) -> None:
    Freight(LIMITS, SharedSeats(SharedMemory(folder, 5), "bytes")).take("aya", 4 * ALMOST)


def test_what_a_killed_worker_had_is_free_when_it_is_needed(
    tmp_path: Path, memories: list[SharedMemory], others: OtherWorkers
) -> None:
    now = 0.0
    mine = Freight(LIMITS, SharedSeats(memories[0], "bytes", clock=lambda: now))
    child = others.pausing_after(partial(_load, tmp_path))
    assert not mine.take("aya", ALMOST)
    others.kill(child)
    now = 1.0
    assert mine.take("aya", 4 * ALMOST)


sizes = st.lists(st.tuples(st.booleans(), st.sampled_from(("a", "b", STRANGERS)), st.integers(0, 6 * MB)))


@given(steps=sizes)
def test_what_is_taken_is_given_back_to_the_last_byte(steps: list[tuple[bool, str, int]]) -> None:
    freight = Freight(LIMITS)
    held: list[tuple[str, int]] = []
    for gives, client, size in steps:
        if gives and held:
            freight.give(*held.pop(0))
        elif freight.take(client, size):
            held.append((client, size))
        if len(held) > 1:
            assert sum(one for _, one in held) <= LIMITS.total
            for name in ("a", "b", STRANGERS):
                own = [one for whose, one in held if whose == name]
                assert len(own) < 2 or sum(own) <= LIMITS.of_client
    for client, size in held:
        freight.give(client, size)
    assert all(freight.take(client, 4 * ALMOST) for client in ("a", "b"))


def test_the_counts_do_not_grow_with_the_names() -> None:
    seats = LocalSeats()
    freight = Freight(LIMITS, seats)
    for number in range(100):
        assert freight.take(f"client{number}", MB)
        freight.give(f"client{number}", MB)
    assert not seats.is_full("", 1)


def test_a_refusal_says_what_helps() -> None:
    error = too_much("many")
    assert (error.code, error.info.http_status) == ("busy", 503)
    assert "limits.max_in_flight_bytes_per_client" in error.remedy
