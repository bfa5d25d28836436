"""Several calls of one request: it is answered when all of them are over, whatever their end."""

from __future__ import annotations

from typing import cast

import pytest

from sekisho.errors import Refused, SekishoError
from sekisho.gateway.gathering import Gathering
from sekisho.gateway.road import Trip
from sekisho.gateway.stages import Answered, Refusal


class HandTrip:
    """Remembers why it was ended."""

    def __init__(self) -> None:
        self.reasons: list[SekishoError] = []

    def withdraw(self, reason: SekishoError) -> None:
        self.reasons.append(reason)


ENDED = Refusal("aya", Refused("cancelled", "test"), "c1")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_request_is_answered_once_when_the_last_call_is_over(count: int) -> None:
    done: list[Refusal | None] = []
    gathering = Gathering(count, done.append)
    for left in range(count, 0, -1):
        assert not done, left
        gathering.settled(ENDED)
    assert done == [ENDED]


def test_a_request_of_which_one_call_succeeded_has_succeeded() -> None:
    done: list[Refusal | None] = []
    gathering = Gathering(3, done.append)
    for outcome in (ENDED, cast(Answered, None), ENDED):
        gathering.settled(outcome)
    assert done == [None]


def test_a_withdrawn_request_ends_every_call_of_it() -> None:
    gathering, trips, reason = (
        Gathering(2, lambda refusal: None),
        [HandTrip(), HandTrip()],
        Refused("cancelled", "t"),
    )
    for trip in trips:
        gathering.add(cast(Trip, trip))
    gathering.withdraw(reason)
    assert [trip.reasons for trip in trips] == [[reason], [reason]]
