"""Whose turn it is when a few send more at once, or more often, than everybody can.

Guarantees that one turn of the loop does a bounded part of it, so that a request that comes alone never stands behind all
of it: requests that came together are read and answered a piece in each turn, of one connection after the other
(`Turns`); of a crowd that trickles a few are read at a time (`Crumbs`). Knows no request and refuses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

__all__ = ["CRUMBS_AT_ONCE", "CRUMB_BYTES", "Crumbs", "Turns"]

YIELD_S: Final = 0.002  # how long a small call is on its way
CRUMB_BYTES: Final = 1 << 10  # a smaller piece of an unfinished request costs more than it brings
CRUMBS_AT_ONCE: Final = 32  # in one WHILE_S; whoever sends more of them is not read for a while
WHILE_S: Final = 0.01
TICK_S: Final = 0.002
READ_AGAIN: Final = 2  # of those that rest, after each TICK_S
MOST_TICKS: Final = 320  # that anybody rests


class Paced(Protocol):
    """A connection."""

    def go_on(self) -> bool:
        """Do a piece of what is left; False when there is nothing left."""

    def rest(self) -> None:
        """Read nothing for a moment."""

    def read_again(self) -> None:
        """The moment is over."""


class Turns:
    """The line of those who have something left to do; each stands in it once.

    `came_alone` is set by whoever answers a request that stands behind nobody: the line waits a moment then, and does not
    take from it the processors that it needs on its way.
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


class Crumbs:
    """Small pieces of unfinished requests, of all connections."""

    def __init__(self) -> None:
        self._count, self._since = 0, 0.0
        self._resting: deque[Paced] = deque()

    def count(self, one: Paced) -> None:
        """One came. Beyond a bound it rests, and all who trickle do as long as any rests: calls keep their turns."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._since >= WHILE_S:
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= CRUMBS_AT_ONCE and not self._resting:
            return
        one.rest()
        self._resting.append(one)
        if len(self._resting) == 1:
            loop.call_later(TICK_S, self._read_again)

    def _read_again(self) -> None:
        resting = self._resting
        for _ in range(min(len(resting), READ_AGAIN + len(resting) // MOST_TICKS)):
            resting.popleft().read_again()
        if resting:
            asyncio.get_running_loop().call_later(TICK_S, self._read_again)
