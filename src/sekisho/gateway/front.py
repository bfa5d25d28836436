"""The HTTP front: sockets, timers and back-pressure around the door.

One `asyncio.Protocol` per connection, callbacks only. Guarantees that a client which sends slowly, reads slowly or
opens many connections costs a bounded amount of memory and time. Decides nothing about calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import cast

from sekisho.errors import Refused, SekishoError
from sekisho.gateway.door import Door
from sekisho.gateway.road import Trip
from sekisho.protocol import HttpLimits, HttpRequest, RequestReader

__all__ = ["Front", "FrontLimits", "Room"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110 section 15.2.1; curl waits a second for it


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What one client may cost."""

    http: HttpLimits
    request_timeout_s: float = 30.0  # slow-loris: head and body must be here by then
    idle_timeout_s: float = 300.0
    max_connections: int = 1024
    max_pipelined: int = 32  # requests waiting on one connection
    max_unsent_bytes: int = 64 << 10  # a client that leaves more unread than this is on the clock


class Room:
    """The connections of one listener; `connect` is its protocol factory."""

    def __init__(self, door: Door, limits: FrontLimits) -> None:
        self.door = door
        self.limits = limits
        self.fronts: set[Front] = set()

    def connect(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        return Front(self)

    def close(self) -> None:
        """Cut every connection."""
        for front in tuple(self.fronts):
            front.abort()


class Front(asyncio.Protocol):
    """One client connection; requests are answered strictly in the order they came."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._limits = room.limits
        self._reader = RequestReader(room.limits.http)
        self._waiting: deque[HttpRequest] = deque()
        self._is_answering = False
        self._is_closing = False
        self._is_late = False
        self._is_continued = False
        self._farewell: SekishoError | None = None
        self._trip: Trip | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or shed it when the house is full."""
        # uvloop's transports are not registered as asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)
        if len(self._room.fronts) >= self._limits.max_connections:
            self._transport.abort()
            return
        self._room.fronts.add(self)
        self._transport.set_write_buffer_limits(high=self._limits.max_unsent_bytes)
        self._arm(self._limits.request_timeout_s)

    def data_received(self, data: bytes) -> None:
        """Read requests out of the bytes and answer them in order."""
        if self._is_closing or self._farewell is not None:
            return
        try:
            self._waiting.extend(self._reader.feed(data))
        except SekishoError as error:
            self._give_up(error)
            return
        if len(self._waiting) > self._limits.max_pipelined:
            while len(self._waiting) > self._limits.max_pipelined:
                self._waiting.pop()
            self._give_up(Refused("busy", "too many requests are waiting on this connection"))
            return
        if self._reader.wants_continue and not self._is_continued and self._transport is not None:
            self._is_continued = True
            if not self._is_answering:
                self._transport.write(_CONTINUE)
        if self._reader.in_request and not self._is_late:
            self._is_late = True  # the clock runs from the first byte, not from the latest
            self._arm(self._limits.request_timeout_s)
        self._next()

    def pause_writing(self) -> None:
        """The client does not keep up with what it asked for: nothing more is read, and its time is bounded."""
        if self._transport is not None and not self._is_closing:
            self._transport.pause_reading()
        self._stall = self._loop.call_later(self._limits.request_timeout_s, self.abort)

    def resume_writing(self) -> None:
        """It caught up."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._transport is not None and not self._is_closing:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client that is gone withdraws its call."""
        del exc
        self._is_closing = True
        self._room.fronts.discard(self)
        self._disarm()
        if self._stall is not None:
            self._stall.cancel()
        if self._trip is not None and self._is_answering:
            self._trip.withdraw(Refused("cancelled", "the client closed the connection"))

    def abort(self) -> None:
        """Cut the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        if self._farewell is not None and not self._waiting and not self._is_answering:
            self._part(self._farewell)
        while self._waiting and not self._is_answering and not self._is_closing:
            request = self._waiting.popleft()
            self._is_answering = True
            self._disarm()
            self._trip = self._room.door.answer(
                request, partial(self._respond, is_last=not request.keep_alive)
            )

    def _respond(self, data: bytes, *, is_last: bool) -> None:
        self._is_answering = False
        self._is_late = False
        self._is_continued = False
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if is_last:
            self._is_closing = True
            self._transport.close()
            return
        # the head of a pipelined request gets no more time than the first
        is_reading = self._reader.in_request
        self._arm(self._limits.request_timeout_s if is_reading else self._limits.idle_timeout_s)
        if self._waiting or self._farewell is not None:
            self._loop.call_soon(self._next)

    def _give_up(self, error: SekishoError) -> None:
        """Read no more; refuse once the requests before it are answered, or the client pairs answers wrongly."""
        self._disarm()
        self._farewell = error
        self._next()

    def _part(self, error: SekishoError) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._room.door.refuse_unreadable(error, lambda data: self._respond(data, is_last=True))

    def _arm(self, delay_s: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(delay_s, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self._reader.in_request:
            self._give_up(Refused("http_timeout", "the request did not arrive in time"))
        elif self._transport is not None:
            self._transport.close()
