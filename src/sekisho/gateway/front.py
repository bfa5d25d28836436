"""The HTTP front: sockets, deadlines and back-pressure around the door.

One `asyncio.Protocol` per connection, callbacks only. Guarantees that a client which sends slowly, reads slowly or
opens many connections costs a bounded amount of memory and time. Deadlines are numbers that one timer of the room
compares a few times a second: a timer for every request would cost more than reading it. Decides nothing about calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.gateway.budgets import Budget, LocalBudget
from sekisho.gateway.door import Door
from sekisho.gateway.events import COMMENT
from sekisho.gateway.pace import CRUMB_BYTES, Crumbs, Turns
from sekisho.gateway.seats import HOUSE, LocalSeats, Seats
from sekisho.gateway.visit import CLIENT_GONE, Withdrawable
from sekisho.keys import Pending, Principal, certificate_shown
from sekisho.protocol import HttpLimits, HttpRequest, RequestReader

__all__ = ["Front", "FrontLimits", "Room"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110 section 15.2.1; curl waits a second for it
_NEVER: Final = float("inf")
LOOKS_PER_TIMEOUT: Final = 20  # how often deadlines are compared within the shortest of them
LONGEST_LOOK_S: Final = 0.5
READ_BYTES: Final = 256 << 10
KEEP_ALIVE_S: Final = 15.0  # proxies cut streams that are quiet for 30 to 120 seconds
COALESCED: Final = 16 << 10  # progress and its result nearly always come in one turn: one system call
CUT_S: Final = 0.05  # between an answer and the cut of a TLS connection that still sends
LINGER_S: Final = 1.0  # for the rest of a body that nobody reads
TLS_PIECE: Final = 256 << 10
READ_AT_ONCE: Final = 4  # requests that came together; the next ones in a later turn
ASK_S: Final = 0.005  # how often the other workers are asked for room
WORTH_COUNTING: Final = 64 << 10  # what one connection may hold without being counted


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


class Room:
    """The connections of one listener; `connect` is its protocol factory.

    `seats` and `budget` count those of other workers too, if there are any; `ask_for_room` reaches them.
    """

    def __init__(
        self,
        door: Door,
        limits: FrontLimits,
        *,
        seats: Seats | None = None,
        budget: Budget | None = None,
        ask_for_room: Callable[[], None] | None = None,
    ) -> None:
        self.door = door
        self._seats: Seats = LocalSeats() if seats is None else seats
        self._budget: Budget = LocalBudget(limits.max_held_bytes) if budget is None else budget
        self._ask_others = ask_for_room
        self._asked_at = -ASK_S
        self.crumbs = Crumbs()
        self.turns = Turns()
        # One for all connections: it is filled and read within one callback. Letting the loop make a buffer for
        # every read would cost more than the read.
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.limits = limits
        self.fronts: set[Front] = set()
        self._strangers: dict[Front, None] = {}  # have shown no valid token yet; in the order they came
        self._held: dict[Front, int] = {}
        self._held_bytes = 0
        shortest_s = min(limits.request_timeout_s, limits.send_timeout_s, limits.idle_timeout_s)
        self._look_s = min(shortest_s / LOOKS_PER_TIMEOUT, LONGEST_LOOK_S)
        self._timer: asyncio.TimerHandle | None = None

    def connect(self) -> asyncio.BaseProtocol:
        """A protocol for a new connection."""
        # it inherits nothing: a compiled class with a base that is not would be no faster than an interpreted one
        return cast(asyncio.BaseProtocol, Front(self))

    def enter(self, front: Front) -> bool:
        """Take a connection into account; False when the house is full of clients that are being served."""
        seats, most = self._seats, self.limits.max_connections
        # one makes room for one: where the count cannot be had, nobody must lose a connection for it
        if not seats.take(HOUSE, most) and not (self._shed_one() and seats.take(HOUSE, most)):
            self._ask_for_room()
            return False
        self.fronts.add(front)
        self._strangers[front] = None
        if self._timer is None:
            self._look_later()
        return True

    def introduce(self, front: Front, client: str) -> bool:
        """A connection shows whose it is; False when this client has too many."""
        if (
            front not in self.fronts
        ):  # it was cut while its request still waited; nobody would count it down again
            return False
        if not self._seats.take(client, self.limits.max_connections_per_client):
            return False
        if front.client is None:
            self._strangers.pop(front, None)
        else:
            self._seats.give(front.client)
        return True

    def leave(self, front: Front) -> None:
        """A connection is over."""
        if front not in self.fronts:
            return
        self.fronts.discard(front)
        self.hold(front, 0)
        self._strangers.pop(front, None)
        self._seats.give(HOUSE)
        if front.client is not None:
            self._seats.give(front.client)

    def hold(self, front: Front, size: int) -> None:
        """A connection keeps so many bytes of ours; beyond the budget whoever keeps most is cut."""
        if size < WORTH_COUNTING:
            if front in self._held:
                self._held_bytes -= self._held.pop(front)
                self._budget.keep(self._held_bytes)
            return
        self._held_bytes += size - self._held.get(front, 0)
        self._held[front] = size
        self._cut_greediest()
        if self._budget.is_exceeded():  # others keep more than their share
            self._ask_for_room()

    def make_room(self) -> None:
        """Another worker found the house full: end here what may be ended, if the house is still full."""
        if self._seats.is_full(HOUSE, self.limits.max_connections):
            self._shed_one()
        self._cut_greediest()

    def _cut_greediest(self) -> None:
        while self._budget.keep(self._held_bytes) and self._held:
            greediest = max(self._held, key=self._held.__getitem__)
            self._held_bytes -= self._held.pop(greediest)
            greediest.make_room()

    def _shed_one(self) -> bool:
        # who shows no token, or waits, makes room: silent strangers must not shut honest clients out
        victim = next(iter(self._strangers), None) or self._longest_idle()
        if victim is None:
            return False
        self.leave(victim)
        victim.abort()
        return True

    def _ask_for_room(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._ask_others is not None and now - self._asked_at >= ASK_S:
            self._asked_at = now
            self._ask_others()

    def _longest_idle(self) -> Front | None:
        return min((one for one in self.fronts if one.is_idle), key=lambda one: one.deadline, default=None)

    def close(self) -> None:
        """Cut every connection."""
        for front in tuple(self.fronts):
            front.abort()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._look_s, self._look)

    def _look(self) -> None:
        """End what is late; an empty room needs no timer."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for front in [front for front in self.fronts if front.deadline <= now or front.read_by <= now]:
            front.expire(now)
        if self.fronts:
            self._look_later()


class Front:
    """One client connection; requests are answered strictly in the order they came.

    `deadline` is when the connection ends unless the client or the door does something; `read_by` is when a client
    that leaves its answers unread is cut. Both are times of the event loop.
    """

    __slots__ = (
        "_begun",
        "_farewell",
        "_is_answering",
        "_is_closing",
        "_is_continued",
        "_is_cut",
        "_is_in_line",
        "_is_last",
        "_is_late",
        "_is_let_in",
        "_is_streaming",
        "_is_tls",
        "_limits",
        "_loop",
        "_queued_bytes",
        "_reader",
        "_room",
        "_transport",
        "_trip",
        "_unread_bytes",
        "_unsent",
        "_waiting",
        "certificate",
        "client",
        "deadline",
        "read_by",
        "shown",
    )

    def __init__(self, room: Room) -> None:
        self._room = room
        self._limits = room.limits
        self._reader = RequestReader(
            room.limits.http, heads=room.door.heads, most=min(READ_AT_ONCE, room.limits.max_pipelined + 1)
        )
        self._waiting: deque[HttpRequest] | None = None
        self._queued_bytes = 0  # of the bodies of those that wait
        self._unread_bytes = 0  # given to the transport since the client does not keep up
        self._is_answering = False
        self._is_last = False
        self._is_closing = False
        self._is_cut = False  # the rest of a request comes still, and nobody reads it
        self._is_in_line = False
        self._is_late = False
        self._is_continued = False
        self._is_let_in = False
        self._is_streaming = False
        self._is_tls = False
        self._begun = b""  # pieces of an answer that leave at the end of this turn, or with what follows
        self._unsent = memoryview(b"")
        self._farewell: SekishoError | None = None
        self._trip: Withdrawable | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.client: str | None = None
        self.certificate: str | None = None
        self.shown: Principal | Pending | None = None
        self.deadline = _NEVER
        self.read_by = _NEVER

    @property
    def is_idle(self) -> bool:
        """True while nothing is asked and nothing is owed."""
        return not self._is_answering and not self._waiting and not self._reader.in_request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or shed it when the house is full."""
        # uvloop's transports are not registered as asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)
        if not self._room.enter(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=self._limits.max_unsent_bytes)
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        encrypted = transport.get_extra_info("ssl_object")
        if encrypted is not None:  # whether certificates are asked for, the listener knows
            self.certificate = certificate_shown(encrypted)
        self.deadline = self._loop.time() + self._limits.request_timeout_s

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop puts what it reads."""
        del sizehint
        return self._room.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much was put there."""
        if self._is_closing or self._farewell is not None:
            return  # nobody reads it
        self.data_received(bytes(self._room.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Read requests out of the bytes and answer them in order."""
        if self._is_closing or self._farewell is not None:
            return
        try:
            requests = self._reader.feed(data)
        except SekishoError as error:
            self._give_up(error)
            return
        reader = self._reader
        if len(requests) == 1 and reader.is_idle and not self._is_answering and not self._waiting:
            self._room.turns.came_alone = True
            self._answer(requests[0])  # nearly always
            return
        if self._is_late and not requests and not self._waiting:
            # one more crumb of what is on the clock already
            if 0 < len(data) < CRUMB_BYTES:
                self._room.crumbs.count(self)
            if reader.is_waited_for:
                return
            if self._is_let_in:
                self._keep()
                return
        self._queue(requests)
        if reader.problem is not None and self._farewell is None:
            self._give_up(reader.problem)

    def pause_writing(self) -> None:
        """The client does not keep up with what it asked for: nothing more is read, and its time is bounded."""
        if self._transport is not None and not self._is_closing:
            self._transport.pause_reading()
        self.read_by = self._loop.time() + self._limits.send_timeout_s

    def resume_writing(self) -> None:
        """It caught up."""
        self.read_by = _NEVER
        self._unread_bytes = 0
        transport = self._transport
        if transport is None:
            return
        if self._unsent:
            self._send_more(transport)
        else:
            self._keep()
        if not self._is_closing:
            transport.resume_reading()
        self._line_up()

    def eof_received(self) -> None:
        """The client says no more: the loop sends what is written and closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """A client that is gone withdraws its call."""
        del exc
        self._is_closing = True
        self._begun, self._unsent = b"", memoryview(b"")
        self._waiting, self._queued_bytes = None, 0
        self._room.leave(self)
        if self._trip is not None and self._is_answering:
            self._trip.withdraw(CLIENT_GONE)

    def rest(self) -> None:
        """Read nothing for a moment; what comes meanwhile is read in one piece."""
        if self._transport is not None and not self._is_closing:
            self._transport.pause_reading()

    def read_again(self) -> None:
        """The moment is over."""
        transport, is_asked = self._transport, not self._is_closing and self.read_by == _NEVER
        if transport is not None and is_asked and not transport.is_closing():
            transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def make_room(self) -> None:
        """Others need the memory that this connection takes up."""
        if self.read_by != _NEVER or not (self._reader.in_request or self._waiting):
            self.abort()
            return
        if self._is_answering:  # that goes on; what is kept behind it goes now, not when it has ended
            self._is_cut = self._reader.in_request
            self._reader = RequestReader()
            self._waiting, self._queued_bytes = None, 0
        self._give_up(Unavailable("busy", "too many large requests are on their way"))

    def expire(self, now: float) -> None:
        """A deadline has passed."""
        if self.read_by <= now or self._is_closing:
            self.abort()
        elif self._reader.in_request:
            self._give_up(Refused("http_timeout", "the request did not arrive in time"))
        elif self._is_streaming and self._transport is not None:
            self._transport.write(COMMENT)
            self.deadline = now + KEEP_ALIVE_S
        elif self._is_answering:  # what was late is here by now, and waits for an answer that takes long
            self.deadline = _NEVER
        elif self._transport is not None:
            self._transport.close()

    def _queue(self, requests: list[HttpRequest]) -> None:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = deque()
        waiting.extend(requests)
        self._queued_bytes += sum(len(one.body) for one in requests)
        most = self._limits.max_pipelined + (not self._is_answering)  # the first of them waits for nobody
        if len(waiting) > most:
            while len(waiting) > most:
                self._queued_bytes -= len(waiting.pop().body)
            self._give_up(Refused("busy", "too many requests are waiting on this connection"))
            return
        if self._reader.in_request:
            self._take_part()
        if self._reader.has_rest:
            self.rest()
        self._line_up()
        if self._queued_bytes >= WORTH_COUNTING:
            self._keep()

    def _line_up(self) -> None:
        """What is left is done in later turns: a piece in each, between those of others."""
        is_next = bool(self._waiting or self._farewell is not None) and not self._is_answering
        if (is_next or self._reader.has_rest) and not self._is_in_line:
            self._is_in_line = True
            self._room.turns.join(self)

    def go_on(self) -> bool:
        """It is our turn; False when there is nothing left to do."""
        self._is_in_line = False
        if self._is_closing:
            return False
        if self._reader.has_rest and self._farewell is None:
            self.read_again()  # unless still more is left
            self.data_received(b"")
            self._keep()
        else:
            self._next()
        return True

    def _take_part(self) -> None:
        """A request has begun; its body is taken only from whom the door lets in."""
        if self._is_closing or not self._reader.in_request:
            return
        if not self._is_late:
            self._is_late = True  # the clock runs from the first byte, not from the latest
            self.deadline = self._loop.time() + self._limits.request_timeout_s
        self._keep()
        if self._is_answering or self._waiting or self._is_let_in or self._transport is None:
            return  # its turn comes once the request before it is answered
        pending = self._reader.pending
        if pending is None:
            return
        if not self._room.door.lets_in(pending, self):
            self._is_closing = self._is_last = True
            return
        self._is_let_in = True
        if self._reader.wants_continue and not self._is_continued:
            self._is_continued = True
            self._transport.write(_CONTINUE)

    def _next(self) -> None:
        if self._farewell is not None and not self._waiting and not self._is_answering:
            self._part(self._farewell)
        # while it leaves an answer unread it gets no other: they must not pile up
        elif self._waiting and self.read_by == _NEVER and not self._is_answering and not self._is_closing:
            request = self._waiting.popleft()
            self._queued_bytes -= len(request.body)
            self._answer(request)

    def _answer(self, request: HttpRequest) -> None:
        self._is_answering = True
        if len(request.body) >= WORTH_COUNTING:  # from now on the road counts it
            self._keep()
        self._is_last = not request.keep_alive
        self.deadline = _NEVER  # how long the door may take is not the client's fault
        self._trip = self._room.door.answer(request, self)

    # for the door

    def admit(self, client: str) -> bool:
        """Take note of who speaks; False, and this connection ends, when the client has too many."""
        if not self._room.introduce(self, client):
            self._is_last = True
            return False
        self.client = client
        return True

    def begin(self, data: bytes) -> bool:
        """Send a piece of an answer, unless the client does not keep up with the pieces before."""
        if self._transport is None or self._transport.is_closing() or self.read_by != _NEVER:
            return False
        if self._begun:
            data = self._begun + data
        elif len(data) <= COALESCED:
            self._loop.call_soon(self._send_begun)
        self._begun = data
        if len(data) > COALESCED:
            self._send_begun()
        self._is_streaming = True
        if not self._is_late:
            self.deadline = self._loop.time() + KEEP_ALIVE_S
        return True

    def _send_begun(self) -> None:
        data, self._begun = self._begun, b""
        if not data or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self.read_by != _NEVER:  # it did not leave at once
            self._keep(len(data))

    def answer(self, data: bytes) -> None:
        """Send an answer, or its last piece, and go on to the next request."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        transport = self._transport
        if transport is None or transport.is_closing():
            self._is_answering = False
            return
        if self._is_tls and len(data) > TLS_PIECE:
            self._unsent = memoryview(data)
            self._send_more(transport)
            return
        transport.write(data)
        if self.read_by != _NEVER:  # it did not leave at once
            self._keep(len(data))
        self._answered(transport)

    def answer_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send a large whole answer as it lies; joining it would copy it once more."""
        transport = self._transport
        if self._is_tls or self._begun or transport is None or transport.is_closing():
            self.answer(b"".join(parts))
            return
        transport.writelines(parts)
        if self.read_by != _NEVER:  # it did not leave at once
            self._keep(sum(map(len, parts)))
        self._answered(transport)

    def _send_more(self, transport: asyncio.Transport) -> None:
        """Send a large answer as the client takes it.

        Given all at once to the TLS layer, which does not tell how much has left, it would be there in three copies.
        """
        while self._unsent and self.read_by == _NEVER:
            transport.write(self._unsent[:TLS_PIECE])
            self._unsent = self._unsent[TLS_PIECE:]
        self._keep()
        if not self._unsent:
            self._answered(transport)

    def _keep(self, unread: int = 0) -> None:
        """Count what is kept for this connection: what it has not sent whole, what waits, what it leaves unread."""
        self._unread_bytes += unread
        from_it, for_it = self._reader.held_bytes + self._queued_bytes, len(self._unsent) + self._unread_bytes
        self._room.hold(self, from_it + for_it)

    def _answered(self, transport: asyncio.Transport) -> None:
        self._is_answering = self._is_late = self._is_let_in = self._is_continued = self._is_streaming = False
        if self._is_last:
            self._is_closing = True
            self._leave(transport)
            return
        # the head of a pipelined request gets no more time than the first, a stranger none for being idle
        is_short = self._reader.in_request or self.client is None
        limits = self._limits
        self.deadline = self._loop.time() + (limits.request_timeout_s if is_short else limits.idle_timeout_s)
        if self._waiting or self._farewell is not None:
            self._line_up()
        elif self._reader.in_request:
            self._loop.call_soon(self._take_part)  # what came meanwhile has not been judged

    def _leave(self, transport: asyncio.Transport) -> None:
        """Close. In the middle of a body an orderly end would wait for the rest, so the connection is cut instead.

        What we sent is with the client's kernel by then; without TLS, whose layer would hold what still comes, the
        client may even end first.
        """
        if not (self._reader.in_request or self._reader.has_rest or self._is_cut):
            transport.close()
            return
        self._reader = RequestReader()  # what is held of the body goes at once
        self._waiting, self._queued_bytes = None, 0
        self._keep()
        if transport.can_write_eof():
            transport.write_eof()
            self.deadline = self._loop.time() + LINGER_S
        else:
            self._loop.call_later(CUT_S, transport.abort)

    def _give_up(self, error: SekishoError) -> None:
        """Read no more; refuse once the requests before it are answered, or the client pairs answers wrongly."""
        self.deadline = _NEVER
        self._farewell = error
        self.read_again()  # what still comes is thrown away
        self._next()

    def _part(self, error: SekishoError) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._is_last = True
        self._room.door.refuse_unreadable(error, self)
