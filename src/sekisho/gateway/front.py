"""The HTTP front: reads requests from connections, in the order they came, and passes them to the door.

One `asyncio.Protocol` per connection, callbacks only. Guarantees that answers leave in the order of their requests; that
a body is read only from whom the door lets in; and that a client which sends slowly, sends many requests at once, or
leaves its answers unread, costs a bounded amount of time and is refused or cut after a bounded wait. Below it stand
`outgoing` (what leaves), `occupancy` (who may stay) and `pace` (whose turn it is). Decides nothing about calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.gateway.budgets import Budget
from sekisho.gateway.door import Door
from sekisho.gateway.events import COMMENT
from sekisho.gateway.guest import CLIENT_GONE, Withdrawable
from sekisho.gateway.occupancy import WORTH_COUNTING, FrontLimits, Occupancy
from sekisho.gateway.outgoing import NEVER, Outgoing
from sekisho.gateway.pace import CRUMB_BYTES, Crumbs, Strangers, Turns
from sekisho.gateway.seats import Seats
from sekisho.keys import Pending, Principal, certificate_shown
from sekisho.protocol import HttpRequest, RequestReader

__all__ = ["Connection", "Front"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110 section 15.2.1; curl waits a second for it
READ_BYTES: Final = 256 << 10
STRANGERS_BYTES: Final = 16 << 10  # so much is read, and kept until its turn comes, of whom nobody knows
READ_AT_ONCE: Final = 4  # requests that came together; the next ones in a later turn
KEEP_ALIVE_S: Final = 15.0  # proxies cut streams that are quiet for 30 to 120 seconds
LINGER_S: Final = 1.0  # for the rest of a body that nobody reads
_LONG_AGO: Final = 0.0
CUT_S: Final = 0.05  # between an answer and the cut of a TLS connection that still sends


class Front:
    """What the connections of one listener have in common; `connect` is its protocol factory."""

    def __init__(
        self,
        door: Door,
        limits: FrontLimits,
        *,
        seats: Seats | None = None,
        budget: Budget | None = None,
        ask_for_room: Callable[[], None] | None = None,
    ) -> None:
        """`seats`, `budget` and `ask_for_room` reach the other workers: see `Occupancy`."""
        self.door = door
        self.limits = limits
        self.occupancy = Occupancy(limits, seats=seats, budget=budget, ask_for_room=ask_for_room)
        self.crumbs = Crumbs()
        self.turns = Turns()
        self.strangers = Strangers()
        # One for all connections: it is filled and read within one callback. Letting the loop make a buffer for
        # every read would cost more than the read.
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.small_buffer = self.buffer[:STRANGERS_BYTES]

    def connect(self) -> asyncio.BaseProtocol:
        """A protocol for a new connection."""
        # it inherits nothing: a compiled class with a base that is not would be no faster than an interpreted one
        return cast(asyncio.BaseProtocol, Connection(self))


class Connection:
    """One client connection.

    `deadline` is when it ends unless the client or the door does something: a time of the event loop. `admit`, `begin`,
    `answer` and `answer_in_parts` are for the door, which knows it as a `Guest`.
    """

    __slots__ = (
        "_farewell",
        "_front",
        "_is_answering",
        "_is_closing",
        "_is_cut",
        "_is_in_line",
        "_is_last",
        "_is_let_in",
        "_is_on_clock",
        "_is_streaming",
        "_limits",
        "_loop",
        "_out",
        "_reader",
        "_transport",
        "_under_way",
        "_unheard",
        "_waiting",
        "_was_answered",
        "certificate",
        "client",
        "deadline",
        "shown",
    )

    def __init__(self, front: Front) -> None:
        self._front = front
        self._limits = limits = front.limits
        self._reader = RequestReader(
            limits.http, heads=front.door.heads, most=min(READ_AT_ONCE, limits.max_pipelined + 1)
        )
        self._waiting: list[HttpRequest] = []
        self._is_answering = False
        self._is_last = False
        self._is_closing = False
        self._is_cut = False  # the rest of a request comes still, and nobody reads it
        self._is_in_line = False
        self._is_on_clock = False
        self._is_let_in = False
        self._is_streaming = False
        self._was_answered = False
        self._unheard = b""  # of a stranger whose turn has not come
        self._farewell: SekishoError | None = None
        self._under_way: Withdrawable | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._out: Outgoing
        self.client: str | None = None
        self.certificate: str | None = None
        self.shown: Principal | Pending | None = None
        self.deadline = NEVER

    # for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or shed it when the house is full."""
        # uvloop's transports are not registered as asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)
        is_tls = transport.get_extra_info("sslcontext") is not None
        self._out = Outgoing(self._transport, is_tls=is_tls)
        if not self._front.occupancy.enter(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=self._limits.max_unsent_bytes)
        encrypted = transport.get_extra_info("ssl_object")
        if encrypted is not None:  # whether certificates are asked for, the listener knows
            self.certificate = certificate_shown(encrypted)
        self.deadline = self._loop.time() + self._limits.request_timeout_s

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop puts what it reads."""
        del sizehint
        return self._front.buffer if self.client is not None else self._front.small_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much was put there."""
        self.data_received(self._front.buffer[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        """The same for a loop that has a buffer of its own."""
        if self._is_closing or self._farewell is not None:  # nobody reads it
            self._count_crumb(len(data), _LONG_AGO)
        elif self._unheard or (
            self.client is None and not self._front.strangers.may_speak(self._loop.time())
        ):
            # of a crowd of strangers each is heard in its turn, so that nobody waits for all of them
            self._unheard += data
            self.rest()
            self._count_held()
            if not self._is_in_line:
                self._stand_among_strangers()
        else:
            self._read(data)

    def pause_writing(self) -> None:
        """The client does not keep up with what it asked for: nothing more is read, and its time is bounded."""
        if not self._is_closing:
            self._transport.pause_reading()
        self._out.read_by = self._loop.time() + self._limits.send_timeout_s

    def resume_writing(self) -> None:
        """It caught up."""
        is_answered = self._out.resume()
        self._count_held()
        if is_answered:
            self._answered()
        if not self._is_closing:
            self._transport.resume_reading()
        self._line_up()

    def eof_received(self) -> None:
        """The client says no more: the loop sends what is written and closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """A client that is gone withdraws its call."""
        del exc
        self._is_closing = True
        self._out.drop()
        self._waiting.clear()
        self._front.occupancy.leave(self)
        if self._under_way is not None and self._is_answering:
            self._under_way.withdraw(CLIENT_GONE)

    # for the occupancy

    @property
    def is_idle(self) -> bool:
        """True while nothing is asked and nothing is owed."""
        return not self._is_answering and not self._waiting and not self._reader.in_request

    def is_late(self, now: float) -> bool:
        """True when a deadline has passed: this side's, or that of a client which leaves its answers unread."""
        return self.deadline <= now or self._out.read_by <= now

    def expire(self, now: float) -> None:
        """A deadline has passed."""
        if self._out.read_by <= now or self._is_closing:
            self.abort()
        elif self._reader.in_request:
            self._give_up(Refused("http_timeout", "the request did not arrive in time"))
        elif self._is_streaming:
            self._transport.write(COMMENT)
            self.deadline = now + KEEP_ALIVE_S
        elif self._is_answering:  # what was late is here by now, and waits for an answer that takes long
            self.deadline = NEVER
        else:
            self._transport.close()

    def let_go(self) -> None:
        """Others need the memory that this connection takes up."""
        if self._out.read_by != NEVER or not (self._reader.in_request or self._waiting):
            self.abort()
            return
        if self._is_answering:  # that goes on; what is kept behind it goes now, not when it has ended
            self._is_cut = self._reader.in_request
            self._reader = RequestReader()
            self._waiting.clear()
        self._give_up(Unavailable("busy", "too many large requests are on their way"))

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    # for the pace

    def rest(self) -> None:
        """Read nothing for a moment; what comes meanwhile is read in one piece."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def read_again(self) -> None:
        """The moment is over."""
        if self._out.read_by == NEVER and not self._transport.is_closing():
            self._transport.resume_reading()

    def go_on(self) -> bool:
        """It is our turn; False when there is nothing left to do."""
        self._is_in_line = False
        if self._is_closing:
            return False
        if (self._unheard or self._reader.has_rest) and self._farewell is None:
            self.read_again()  # unless still more is left
            data, self._unheard = self._unheard, b""
            self._read(data)
            self._count_held()
        else:
            self._next()
        return True

    # for the door

    def admit(self, client: str) -> bool:
        """Take note of who speaks; False, and this connection ends, when the client has too many."""
        is_new = self.client is None
        if not self._front.occupancy.introduce(self, client):
            self._is_last = True
            return False
        if is_new:
            self._front.strangers.one_is_known()
        return True

    def begin(self, data: bytes) -> bool:
        """Send a piece of an answer, unless the client does not keep up with the pieces before."""
        if self._transport.is_closing() or self._out.read_by != NEVER:
            return False
        if self._out.begin(data):
            self._loop.call_soon(self._flush)
        elif self._out.read_by != NEVER:  # it did not leave at once
            self._count_held()
        self._is_streaming = True
        if not self._is_on_clock:
            self.deadline = self._loop.time() + KEEP_ALIVE_S
        return True

    def answer(self, data: bytes) -> None:
        """Send an answer, or its last piece, and go on to the next request."""
        if self._transport.is_closing():
            self._is_answering = False
            return
        is_whole = self._out.send(data)
        if self._out.read_by != NEVER:  # it did not leave at once
            self._count_held()
        if is_whole:
            self._answered()

    def answer_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """The same for a large whole answer, which lies in several places."""
        if self._transport.is_closing():
            self._is_answering = False
            return
        is_whole = self._out.send_parts(parts)
        if self._out.read_by != NEVER:
            self._count_held()
        if is_whole:
            self._answered()

    # reading

    def _read(self, data: bytes) -> None:
        """Read requests out of the bytes and answer them in order."""
        reader = self._reader
        try:
            requests = reader.feed(data)
        except SekishoError as error:
            self._give_up(error)
            return
        if len(requests) == 1 and reader.is_idle and not self._is_answering and not self._waiting:
            if self.client is not None:
                self._front.turns.came_alone = True
            self._answer(requests[0])  # nearly always
            return
        if self._is_on_clock and not requests and not self._waiting:
            # one more crumb of what is on the clock already
            self._count_crumb(len(data), self.deadline - self._limits.request_timeout_s)
            if reader.is_waited_for:
                return
            if self._is_let_in:
                self._count_held()
                return
        self._queue(requests)
        if reader.problem is not None and self._farewell is None:
            self._give_up(reader.problem)

    def _count_crumb(self, size: int, begun: float) -> None:
        """So little came of what began then."""
        if 0 < size < CRUMB_BYTES:
            self._front.crumbs.count(self, begun)

    def _queue(self, requests: list[HttpRequest]) -> None:
        waiting = self._waiting
        waiting += requests
        most = self._limits.max_pipelined + (not self._is_answering)  # the first of them waits for nobody
        if len(waiting) > most:
            del waiting[most:]
            self._give_up(Refused("busy", "too many requests are waiting on this connection"))
            return
        if self._reader.in_request:
            self._judge_head()
        if self._reader.has_rest:
            self.rest()
        self._line_up()
        if self._waiting_bytes >= WORTH_COUNTING:
            self._count_held()

    def _line_up(self) -> None:
        """What is left is done in later turns: a piece in each, between those of others."""
        is_next = bool(self._waiting or self._farewell is not None) and not self._is_answering
        if not (is_next or self._reader.has_rest) or self._is_in_line:
            return
        if self.client is None and not self._front.strangers.may_speak(self._loop.time()):
            self._stand_among_strangers()
            return
        self._is_in_line = True
        self._front.turns.join(self)

    def _stand_among_strangers(self) -> None:
        self._is_in_line = True
        self._front.strangers.join(self, is_new=not self._was_answered)

    def _judge_head(self) -> None:
        """A request has begun; its body is taken only from whom the door lets in."""
        if self._is_closing or not self._reader.in_request:
            return
        if not self._is_on_clock:
            self._is_on_clock = True  # the clock runs from the first byte, not from the latest
            self.deadline = self._loop.time() + self._limits.request_timeout_s
        self._count_held()
        if self._is_answering or self._waiting or self._is_let_in:
            return  # its turn comes once the request before it is answered
        pending = self._reader.pending
        if pending is None:
            return
        if not self._front.door.lets_in(pending, self):
            self._is_closing = self._is_last = True
            return
        self._is_let_in = True
        if self._reader.wants_continue:
            self._transport.write(_CONTINUE)

    def _count_held(self) -> None:
        """Count what is kept for this connection: what it has not sent whole, what waits, what it leaves unread."""
        arrived = len(self._unheard) + self._reader.held_bytes + self._waiting_bytes
        self._front.occupancy.hold(self, arrived + self._out.held_bytes)

    @property
    def _waiting_bytes(self) -> int:
        return sum(len(one.body) for one in self._waiting)

    # answering

    def _next(self) -> None:
        if self._farewell is not None and not self._waiting and not self._is_answering:
            self._refuse(self._farewell)
        # while it leaves an answer unread it gets no other: they must not pile up
        elif self._waiting and self._out.read_by == NEVER and not self._is_answering and not self._is_closing:
            self._answer(self._waiting.pop(0))

    def _answer(self, request: HttpRequest) -> None:
        self._is_answering = True
        if len(request.body) >= WORTH_COUNTING:  # from now on the road counts it
            self._count_held()
        self._is_last = not request.keep_alive
        self.deadline = NEVER  # how long the door may take is not the client's fault
        self._under_way = self._front.door.answer(request, self)

    def _flush(self) -> None:
        """The end of a turn in which pieces were begun."""
        if self._transport.is_closing():
            return
        self._out.flush()
        if self._out.read_by != NEVER:  # it did not leave at once
            self._count_held()

    def _answered(self) -> None:
        self._is_answering = self._is_on_clock = self._is_let_in = self._is_streaming = False
        self._was_answered = True
        if self._is_last:
            self._is_closing = True
            self._close()
            return
        # the head of a pipelined request gets no more time than the first, a stranger none for being idle
        is_short = self._reader.in_request or self.client is None
        limits = self._limits
        self.deadline = self._loop.time() + (limits.request_timeout_s if is_short else limits.idle_timeout_s)
        if self._waiting or self._farewell is not None:
            self._line_up()
        elif self._reader.in_request:
            self._loop.call_soon(self._judge_head)  # what came meanwhile has not been judged

    # ending

    def _give_up(self, error: SekishoError) -> None:
        """Read no more; refuse once the requests before it are answered, or the client pairs answers wrongly."""
        self.deadline = NEVER
        self._farewell = error
        self.read_again()  # what still comes is thrown away
        self._next()

    def _refuse(self, error: SekishoError) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._is_last = True
        self._front.door.refuse_unreadable(error, self)

    def _close(self) -> None:
        """Close. In the middle of a body an orderly end would wait for the rest, so the connection is cut instead.

        What we sent is with the client's kernel by then; without TLS, whose layer would hold what still comes, the
        client may even end first.
        """
        transport = self._transport
        if not (self._reader.in_request or self._reader.has_rest or self._is_cut):
            transport.close()
            return
        self._reader = RequestReader()  # what is held of the body goes at once
        self._waiting.clear()
        self._count_held()
        if transport.can_write_eof():
            transport.write_eof()
            self.deadline = self._loop.time() + LINGER_S
        else:
            self._loop.call_later(CUT_S, transport.abort)
