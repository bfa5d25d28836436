"""How many bytes large calls and results have that are under way: of one client, and of all together.

Guarantees that they never have more than the limits, in this process or at all workers together, and that one is refused
only when that many are there; a single one passes whatever its size, for bodies and results have limits of their own.
What is not large is bounded by number (`berths`) and costs one comparison. What is kept for connections is counted
apart (`budgets`): that can be cut, while a call under way cannot be taken back, and must not drive out what others keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekisho.errors import Unavailable
from sekisho.gateway.seats import HOUSE, LocalSeats, Seats

__all__ = ["LARGE_BYTES", "STRANGERS", "Freight", "FreightLimits", "too_much"]

LARGE_BYTES: Final = 64 << 10  # what is smaller is not worth counting: a thousand of them are 64 MiB
STRANGERS: Final = "?"
"""The name of all together whose issuer has not answered yet; no client has it."""
_UNIT_SHIFT: Final = 10  # counted in KiB, so that a terabyte fits a count
_REMEDY: Final = (
    "have fewer large calls under way at a time, or the operator raises limits.max_in_flight_bytes_per_client"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreightLimits:
    """How many bytes may be under way at one time."""

    total: int = 128 << 20
    of_client: int = 64 << 20


class Freight:
    """The bytes of what is large."""

    def __init__(self, limits: FreightLimits, seats: Seats | None = None) -> None:
        self._total = limits.total >> _UNIT_SHIFT
        self._of_client = limits.of_client >> _UNIT_SHIFT
        self._seats: Seats = LocalSeats() if seats is None else seats

    def take(self, client: str, size: int) -> bool:
        """So many bytes of this client are under way from now on; False when they are too many."""
        count, seats = _units(size), self._seats
        if not seats.take(client, max(self._of_client, count), count):
            return False
        if seats.take(HOUSE, max(self._total, count), count):
            return True
        seats.give(client, count)
        return False

    def give(self, client: str, size: int) -> None:
        """They are not any more."""
        count = _units(size)
        self._seats.give(client, count)
        self._seats.give(HOUSE, count)

    def has_room(self, client: str, size: int) -> bool:
        """True when so many bytes could be taken now: to be asked before they are read."""
        if not self.take(client, size):
            return False
        self.give(client, size)
        return True


def too_much(what: str) -> Unavailable:
    """What a client is told."""
    return Unavailable("busy", what, remedy=_REMEDY)


def _units(size: int) -> int:
    return (size >> _UNIT_SHIFT) + 1
