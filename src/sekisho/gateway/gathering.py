"""Several calls that one request became: settled when all of them are, ended together."""

from __future__ import annotations

from collections.abc import Callable

from sekisho.errors import SekishoError
from sekisho.gateway.road import Outcome, Trip
from sekisho.gateway.stages import Refusal

__all__ = ["Gathering"]


class Gathering:
    """Counts outcomes; how each call ended is on record. The request is refused if all of them were.

    `done` hears of the first refusal then, else of nothing.
    """

    def __init__(self, count: int, done: Callable[[Refusal | None], None]) -> None:
        self._left = count
        self._done = done
        self._refusals: list[Refusal] = []
        self._has_success = False
        self._trips: list[Trip] = []

    def add(self, trip: Trip) -> None:
        """One more of them is under way."""
        self._trips.append(trip)

    def settled(self, outcome: Outcome) -> None:
        """One of them is over."""
        if isinstance(outcome, Refusal):
            self._refusals.append(outcome)
        else:
            self._has_success = True
        self._left -= 1
        if not self._left:
            self._done(None if self._has_success or not self._refusals else self._refusals[0])

    def withdraw(self, reason: SekishoError) -> None:
        """End those that are still under way."""
        for trip in self._trips:
            trip.withdraw(reason)
