"""What one plugin may use of the egress process, so that no plugin can be slowed down by another.

- Connections: one more than granted is refused, not queued.
- Bytes a minute, both directions together: who is over it is slowed down, never cut. Nothing is read from a side while
  its plugin is in debt, so the kernel's own back-pressure reaches the sender, and nothing piles up here.
- Bytes a turn of the event loop: whoever has moved that many waits for the next turn, behind everybody else. Looking
  at a connection costs as much as a small read, so that crumbs cannot be cheaper than loaves.

One value for all sandboxes of a plugin. Knows no socket and no host.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["READ_BYTES", "Allowance", "Share"]

READ_BYTES: Final = 128 << 10  # one read; small enough that a turn has several, large enough to be cheap
TURN_BYTES: Final = 256 << 10  # about 0.1 ms of copying: what the plugin next in line waits for
LOOK_BYTES: Final = 4 << 10  # what one read counts for at least
MAX_CONNECTIONS: Final = 256
BURST_S: Final = 6.0  # so much of a minute's allowance may be used at once
SAID_AGAIN_AFTER_S: Final = 60.0
_MINUTE_S: Final = 60.0


class Allowance:
    """A bucket of bytes that fills steadily. Taking more than it holds makes a debt, and the debt takes time."""

    def __init__(self, bytes_per_minute: int) -> None:
        self._rate = bytes_per_minute / _MINUTE_S
        self._most = self._rate * BURST_S
        self._held = self._most
        self._at = 0.0

    def take(self, count: int, now: float) -> None:
        """Take so many bytes."""
        if self._rate:
            self._fill(now)
            self._held -= count

    def debt_s(self, now: float) -> float:
        """How long nothing may be taken; 0.0 when nothing is owed."""
        if not self._rate:
            return 0.0
        self._fill(now)
        return max(0.0, -self._held / self._rate)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._held = min(self._most, self._held + (now - self._at) * self._rate)
            self._at = now


class Share:
    """One plugin's part. `on_slow` is told, at most once a minute, that it is being slowed down."""

    def __init__(
        self,
        *,
        max_connections: int = MAX_CONNECTIONS,
        bytes_per_minute: int = 0,
        on_slow: Callable[[], None] = lambda: None,
        turn_bytes: int = TURN_BYTES,
    ) -> None:
        self._max_connections = max_connections
        self._allowance = Allowance(bytes_per_minute)
        self._on_slow = on_slow
        self._turn_bytes = turn_bytes
        self._open = 0
        self._left = turn_bytes
        self._said_at: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False

    def enter(self) -> bool:
        """Take the place of one connection, if one is left."""
        if self._open >= self._max_connections:
            return False
        self._open += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self._open -= 1

    def room(self) -> int:
        """How many bytes may be read now; nothing when the turn is used up, or while there is a debt."""
        return 0 if self._left <= 0 or self.debt_s() > 0 else min(self._left, READ_BYTES)

    def debt_s(self) -> float:
        """How long there is no room because too much was carried in this minute."""
        return self._allowance.debt_s(asyncio.get_running_loop().time())

    def spend(self, count: int) -> None:
        """Use so much of this turn, for work that takes as long as carrying so many bytes."""
        self._left -= count
        self._schedule()

    def charge(self, count: int) -> None:
        """Count what was read."""
        self.spend(max(count, LOOK_BYTES))
        now = asyncio.get_running_loop().time()
        self._allowance.take(count, now)
        if self._allowance.debt_s(now) > 0 and not self._is_said(now):
            self._said_at = now
            self._on_slow()

    async def wait_room(self) -> int:
        """Wait until something may be read; how much. Whoever waited longest comes first."""
        while not (room := self.room()):
            debt_s = self.debt_s()
            if debt_s:
                await asyncio.sleep(debt_s)
                continue
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            self._schedule()
            await place
        return room

    def _is_said(self, now: float) -> bool:
        return self._said_at is not None and now - self._said_at < SAID_AGAIN_AFTER_S

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_scheduled = False
        self._left = self._turn_bytes
        woken = 0
        while self._waiting and woken <= self._turn_bytes // READ_BYTES:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                woken += 1
        if self._waiting:  # those who were woken may leave their turn unused
            self._schedule()
