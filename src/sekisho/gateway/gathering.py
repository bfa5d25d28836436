"""Several calls that one request became: settled when all of them are, ended together."""

from __future__ import annotations

from collections.abc import Callable

from sekisho.errors import SekishoError
from sekisho.gateway.road import Outcome, Trip

__all__ = ["Gathering"]


class Gathering:
    """Counts outcomes; how each call ended is on record, and the request succeeds as a whole."""

    def __init__(self, count: int, done: Callable[[], None]) -> None:
        self._left = count
        self._done = done
        self._trips: list[Trip] = []

    def add(self, trip: Trip) -> None:
        """One more of them is under way."""
        self._trips.append(trip)

    def settled(self, outcome: Outcome) -> None:
        """One of them is over."""
        del outcome
        self._left -= 1
        if not self._left:
            self._done()

    def withdraw(self, reason: SekishoError) -> None:
        """End those that are still under way."""
        for trip in self._trips:
            trip.withdraw(reason)
