"""Which client connections may stay: how many, for how long, and how much of our memory each takes up.

Guarantees that neither the house nor a client has more connections than it may; that silent strangers and idle clients
make room for whoever comes, and a connection that is being served never does; that beyond the budget of bytes whoever
keeps most is cut; and that a deadline is noticed within a twentieth of the shortest one. Deadlines are numbers that one
timer compares a few times a second: a timer for every request would cost more than reading it. Knows no HTTP, and no
more of a connection than `Occupant` says.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.gateway.budgets import Budget, LocalBudget
from sekisho.gateway.seats import HOUSE, LocalSeats, Seats
from sekisho.protocol import HttpLimits

__all__ = ["WORTH_COUNTING", "FrontLimits", "Occupancy", "Occupant"]

LOOKS_PER_TIMEOUT: Final = 20  # how often deadlines are compared within the shortest of them
LONGEST_LOOK_S: Final = 0.5
END_AT_ONCE: Final = 16  # of those that came together and are late together; the next ones END_S later
END_S: Final = 0.005
ASK_S: Final = 0.005  # how often the other workers are asked for room
WORTH_COUNTING: Final = 64 << 10  # bytes that one connection may hold without being counted


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What one client may cost."""

    http: HttpLimits
    request_timeout_s: float = 30.0  # slow-loris: head and body must be here by then
    send_timeout_s: float = 30.0  # for a client that leaves its answers unread
    idle_timeout_s: float = 300.0
    max_connections: int = 1024
    max_connections_per_client: int = 256
    max_pipelined: int = 32  # requests waiting on one connection
    max_unsent_bytes: int = 64 << 10  # a client that leaves more unread than this is on the clock
    max_held_bytes: int = 256 << 20  # unfinished bodies, waiting requests, unread answers of all connections


class Occupant(Protocol):
    """A connection."""

    client: str | None
    """Whose it is, once a token was shown."""
    deadline: float
    """When it ends unless something happens; of idle ones it is earliest for the one that has been idle longest."""

    @property
    def is_idle(self) -> bool:
        """True while nothing is asked and nothing is owed."""

    def is_late(self, now: float) -> bool:
        """True when a deadline has passed."""

    def expire(self, now: float) -> None:
        """A deadline has passed: end, or set another."""

    def let_go(self) -> None:
        """Others need the memory that this connection takes up."""

    def abort(self) -> None:
        """Cut it now."""


class Occupancy:
    """The connections of one listener.

    `seats` and `budget` count those of other workers too, if there are any; `ask_for_room` reaches them.
    """

    def __init__(
        self,
        limits: FrontLimits,
        *,
        seats: Seats | None = None,
        budget: Budget | None = None,
        ask_for_room: Callable[[], None] | None = None,
    ) -> None:
        self._limits = limits
        self._seats: Seats = LocalSeats() if seats is None else seats
        self._budget: Budget = LocalBudget(limits.max_held_bytes) if budget is None else budget
        self._ask_others = ask_for_room
        self._asked_at = -ASK_S
        self._all: set[Occupant] = set()
        self._strangers: dict[Occupant, None] = {}  # have shown no valid token yet; in the order they came
        self._held: dict[Occupant, int] = {}
        self._held_bytes = 0
        shortest_s = min(limits.request_timeout_s, limits.send_timeout_s, limits.idle_timeout_s)
        self._look_s = min(shortest_s / LOOKS_PER_TIMEOUT, LONGEST_LOOK_S)
        self._timer: asyncio.TimerHandle | None = None
        self._late: deque[Occupant] = deque()

    @property
    def count(self) -> int:
        """How many connections there are here."""
        return len(self._all)

    def enter(self, one: Occupant) -> bool:
        """Take a connection into account; False when the house is full of clients that are being served."""
        seats, most = self._seats, self._limits.max_connections
        # one makes room for one: where the count cannot be had, nobody must lose a connection for it
        if not seats.take(HOUSE, most) and not (self._shed_one() and seats.take(HOUSE, most)):
            self._ask_for_room()
            return False
        self._all.add(one)
        self._strangers[one] = None
        if self._timer is None:
            self._look_later()
        return True

    def introduce(self, one: Occupant, client: str) -> bool:
        """A connection shows whose it is; False when this client has too many."""
        if one not in self._all:  # cut while its request still waited; nobody would count it down again
            return False
        if not self._seats.take(client, self._limits.max_connections_per_client):
            return False
        if one.client is None:
            self._strangers.pop(one, None)
        else:
            self._seats.give(one.client)
        one.client = client
        return True

    def leave(self, one: Occupant) -> None:
        """A connection is over."""
        if one not in self._all:
            return
        self._all.discard(one)
        self.hold(one, 0)
        self._strangers.pop(one, None)
        self._seats.give(HOUSE)
        if one.client is not None:
            self._seats.give(one.client)

    def hold(self, one: Occupant, size: int) -> None:
        """A connection keeps so many bytes of ours; beyond the budget whoever keeps most is cut."""
        if size < WORTH_COUNTING:
            if one in self._held:
                self._held_bytes -= self._held.pop(one)
                self._budget.keep(self._held_bytes)
            return
        self._held_bytes += size - self._held.get(one, 0)
        self._held[one] = size
        self._cut_greediest()
        if self._budget.is_exceeded():  # others keep more than their share
            self._ask_for_room()

    def make_room(self) -> None:
        """Another worker found the house full: end here what may be ended, if the house is still full."""
        if self._seats.is_full(HOUSE, self._limits.max_connections):
            self._shed_one()
        self._cut_greediest()

    def close(self) -> None:
        """Cut every connection."""
        for one in tuple(self._all):
            one.abort()

    def _cut_greediest(self) -> None:
        while self._budget.keep(self._held_bytes) and self._held:
            greediest = max(self._held, key=self._held.__getitem__)
            self._held_bytes -= self._held.pop(greediest)
            greediest.let_go()

    def _shed_one(self) -> bool:
        # who shows no token, or waits, makes room: silent strangers must not shut honest clients out
        victim = next(iter(self._strangers), None) or self._longest_idle()
        if victim is None:
            return False
        self.leave(victim)
        victim.abort()
        return True

    def _longest_idle(self) -> Occupant | None:
        return min((one for one in self._all if one.is_idle), key=lambda one: one.deadline, default=None)

    def _ask_for_room(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._ask_others is not None and now - self._asked_at >= ASK_S:
            self._asked_at = now
            self._ask_others()

    def _look_later(self) -> None:
        wait_s = END_S if self._late else self._look_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        """End some of those that are late; where nobody is left no timer is needed."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        late = self._late
        if not late:
            late.extend(one for one in self._all if one.is_late(now))
        for _ in range(min(len(late), END_AT_ONCE)):
            one = late.popleft()
            if one in self._all and one.is_late(now):
                one.expire(now)
        if self._all:
            self._look_later()
