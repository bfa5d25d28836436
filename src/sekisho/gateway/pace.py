"""Whose turn it is when a few send more at once, or more often, than everybody can.

Guarantees that one turn of the loop does a bounded part of it, so that a request that comes alone never stands behind all
of it: requests that came together are read and answered a piece in each turn, of one connection after the other
(`Turns`); of a crowd that trickles a few are read at a time (`Crumbs`). Knows no request and refuses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

__all__ = ["CRUMBS_AT_ONCE", "CRUMB_BYTES", "STRANGERS_AT_ONCE", "Crumbs", "Few", "Strangers", "Turns"]

YIELD_S: Final = 0.002  # how long a small call is on its way
CRUMB_BYTES: Final = 16 << 10  # a smaller piece of an unfinished request costs more than it brings
CRUMBS_AT_ONCE: Final = 32  # in one WHILE_S; whoever sends more of them is not read for a while
STRANGERS_AT_ONCE: Final = (
    8  # pieces in one WHILE_S, of those who are still strangers then; more stand in line
)
HEARD_AT_ONCE: Final = 4  # of those in line, after each TICK_S
WHILE_S: Final = 0.01
TICK_S: Final = 0.005
MOST_TICKS: Final = 400  # that anybody rests
YOUNG_S: Final = 0.25  # an honest request that comes in pieces is whole by then, or has time


class Paced(Protocol):
    """A connection."""

    def go_on(self) -> bool:
        """Do a piece of what is left; False when there is nothing left."""

    def rest(self) -> None:
        """Read nothing for a moment."""

    def read_again(self) -> None:
        """The moment is over."""


class Few:
    """Says of each thing that happens whether it is one of the first `most` in its WHILE_S."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count, self._since = 0, 0.0

    def count(self, now: float) -> bool:
        """It happened."""
        if now - self._since >= WHILE_S:
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= self._most

    def discount(self) -> None:
        """It was none of them."""
        self._count = max(0, self._count - 1)


class Turns:
    """The line of those who have something left to do; each stands in it once.

    `came_alone` is set by whoever answers a known client's request that stands behind nobody: the line waits a moment
    then, and does not take from it the processors that it needs on its way.
    """

    def __init__(self) -> None:
        self.came_alone = False
        self._line: deque[Paced] = deque()
        self._is_due = False

    def join(self, one: Paced) -> None:
        """Go on in a later turn, behind those who came before."""
        self._line.append(one)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        if self.came_alone:
            self.came_alone = False
            asyncio.get_running_loop().call_later(YIELD_S, self._serve)  # not put off again, whoever comes
        else:
            self._serve()

    def _serve(self) -> None:
        line = self._line
        while line and not line.popleft().go_on():
            pass
        self._is_due = bool(line)
        if line:
            asyncio.get_running_loop().call_soon(self._turn)


class Strangers:
    """The line of connections that show no token: a few speak at once, and then a few every TICK_S.

    Those that have not been heard yet come first: a client that comes with a token does not wait behind all those that
    were refused. One of these is heard each time nevertheless, for a client that asked without a token and has one now.
    """

    def __init__(self) -> None:
        self._few = Few(STRANGERS_AT_ONCE)
        self._new: deque[Paced] = deque()
        self._refused: deque[Paced] = deque()
        self._is_due = False

    def may_speak(self, now: float) -> bool:
        """One has something to say; False when it is to stand in line with it."""
        return self._few.count(now)

    def one_is_known(self) -> None:
        """What it said was who it is: however many do so, none takes another's place."""
        self._few.discount()

    def join(self, one: Paced, *, is_new: bool) -> None:
        """Go on behind those who came before."""
        (self._new if is_new else self._refused).append(one)
        self._come_later()

    def _come_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(TICK_S, self._serve)

    def _serve(self) -> None:
        new, refused = self._new, self._refused
        line = refused or new
        for _ in range(min(len(new) + len(refused), HEARD_AT_ONCE)):
            line.popleft().go_on()
            line = new or refused
        self._is_due = False
        if new or refused:
            self._come_later()


class Crumbs:
    """Small pieces of unfinished requests, of all connections."""

    def __init__(self) -> None:
        self._few = Few(CRUMBS_AT_ONCE)
        # those who rest: requests that have begun a moment ago are not to wait behind a crowd that trickles for long
        self._young: deque[Paced] = deque()
        self._old: deque[Paced] = deque()

    def count(self, one: Paced, begun: float) -> None:
        """One came, of a request that began then. Beyond a bound it rests; all who trickle do as long as any rests."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._few.count(now) and not self._is_anybody_resting:
            return
        if not self._is_anybody_resting:
            loop.call_later(TICK_S, self._read_again)
        one.rest()
        (self._young if now - begun < YOUNG_S else self._old).append(one)

    @property
    def _is_anybody_resting(self) -> bool:
        return bool(self._young or self._old)

    def _read_again(self) -> None:
        for line in (self._young, self._old):
            for _ in range(min(len(line), 1 + len(line) // MOST_TICKS)):
                line.popleft().read_again()
        if self._is_anybody_resting:
            asyncio.get_running_loop().call_later(TICK_S, self._read_again)
