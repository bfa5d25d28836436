"""Legacy sessions without memory: the session id is a sealed ticket (decision 0007).

A ticket is bound to the client and the endpoint that opened it, expires, and can be ended; only ended ones are kept,
in a bounded list, until they expire. A restart of the core ends no session. Several workers keep one list (decision
0011): a session that one of them ended is ended at all of them before the client hears so. The same list remembers other
tickets that are good for one time, until they expire: no flood of them or of endings makes one forgotten before, and no
restart, because it counts within one run of the house alone.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.gateway.caller import Caller, scope_of
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.keys import open_ticket, seal_ticket
from sekisho.protocol import PluginName

__all__ = ["Endings", "LocalEndings", "Session", "Sessions", "SharedEndings"]

MAX_AGE_S: Final = 24 * 3600.0  # a stolen ticket also needs the token; a day is longer than any client stays
RESUMING: Final = "2025-11-25"  # the newest revision with sessions
MAX_KNOWN: Final = 4096
MAX_ENDED: Final = (
    100_000  # remembered endings: a client that opens and ends sessions in a loop must not fill the memory
)

MAX_SPENT: Final = 200_000  # tickets that are good for one time, all used within their ten minutes
MAX_SPENT_LIFE_S: Final = 3600.0  # none of them lives longer
_RUN_BYTES: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session of a legacy client."""

    ident: str
    version: str
    client: str
    endpoint: PluginName | None
    opened_at: float
    caller: Caller
    deaf: Caller
    """The caller of a request whose answer cannot be a stream, so that nothing can be asked meanwhile."""

    resumes: bool = False
    """Its streams can be taken up again (MCP 2025-11-25)."""


class Endings(Protocol):
    """The sessions that were ended; the oldest may be forgotten when there are too many."""

    run: str
    """Names what remembers: a ticket that is good for one time counts only where its use would be known."""

    def add(self, ident: str, now: float) -> None:
        """A session was ended."""

    def __contains__(self, ident: str) -> bool:
        """True when it was ended."""

    def spend(self, ticket: str, now: float, life_s: float) -> bool:
        """True the first time for a ticket that is good for one; False when there is no room to remember it."""

    @property
    def count(self) -> int:
        """Changes with every ending, so that whoever remembers a session knows when to ask again."""


class LocalEndings:
    """The list of the only process."""

    def __init__(self, limit: int = MAX_ENDED, most_spent: int = MAX_SPENT) -> None:
        self._limit = limit
        self._most_spent = most_spent
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._spent: OrderedDict[str, float] = OrderedDict()
        self.count = 0
        self.run = secrets.token_urlsafe(_RUN_BYTES)

    def add(self, ident: str, now: float) -> None:
        """A session was ended."""
        del now  # the oldest go first, whenever they were ended
        self._ended[ident] = None
        self.count += 1
        while len(self._ended) > self._limit:
            self._ended.popitem(last=False)

    def __contains__(self, ident: str) -> bool:
        return ident in self._ended

    def spend(self, ticket: str, now: float, life_s: float) -> bool:
        """True the first time."""
        while self._spent and next(iter(self._spent.values())) <= now:
            self._spent.popitem(last=False)
        if ticket in self._spent or len(self._spent) >= self._most_spent:
            return False
        self._spent[ticket] = now + life_s
        return True


class SharedEndings:
    """One list of all workers, in their shared memory; asking needs no lock."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._table = memory.endings
        self.run = memory.run

    @property
    def count(self) -> int:
        """Changes with every ending, at any worker."""
        return self._memory.ended_count

    def add(self, ident: str, now: float) -> None:
        """A session was ended; all workers know it when this returns."""
        digest = self._memory.digest(ident.encode())
        until_ns, now_ns = _until_ns(now, MAX_AGE_S), int(now * 1e9)
        self._memory.mutex.acquire()
        try:
            if self._table.place(digest, until_ns, now_ns) < 0:
                # The oldest ending gives way. Whatever ends soon may be a ticket that must not be good again.
                oldest = self._table.soonest(digest, after=_until_ns(now, MAX_SPENT_LIFE_S))
                if oldest >= 0:
                    self._table.set_until(oldest, 0)
                    self._table.place(digest, until_ns, now_ns)
            self._memory.count_ending()
        finally:
            self._memory.mutex.release()

    def spend(self, ticket: str, now: float, life_s: float) -> bool:
        """True the first time, at whatever worker."""
        digest = self._memory.digest(b"spent " + ticket.encode())
        until_ns, now_ns = _until_ns(now, life_s), int(now * 1e9)
        self._memory.mutex.acquire()
        try:
            known = self._table.find(digest)
            if known < 0:
                return self._table.place(digest, until_ns, now_ns) >= 0
            if self._table.until(known) > now_ns:
                return False
            self._table.set_until(known, until_ns)
            return True
        finally:
            self._memory.mutex.release()

    def __contains__(self, ident: str) -> bool:
        # an entry that has lapsed belongs to a ticket that has lapsed too, so that its time need not be looked at
        return self._memory.ended_count > 0 and self._table.find(self._memory.digest(ident.encode())) >= 0


def _until_ns(now: float, life_s: float) -> int:
    return int((now + life_s + 10.0) * 1e9)  # clocks differ by seconds


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, key: bytes, endings: Endings | None = None) -> None:
        self._key = key
        self._ended: Endings = LocalEndings() if endings is None else endings
        # Tickets that were opened lately: unsealing one costs more than the rest of finding it. With the count of
        # endings at which each was last known not to have ended.
        self._known: dict[str, tuple[Session, int]] = {}

    def open(
        self,
        client: str,
        endpoint: PluginName | None,
        version: str,
        now: float,
        declared: frozenset[str] = frozenset(),
    ) -> str:
        """A new session id; `declared` is what this client says it can be asked."""
        payload = {"c": client, "e": endpoint or "", "v": version, "a": sorted(declared)}
        return seal_ticket(self._key, "session", payload, now)

    def find(self, ident: str | None, client: str, endpoint: PluginName | None, now: float) -> Session:
        """The session of this id, if this client opened it at this endpoint and did not end it."""
        if ident is None:
            raise RemoteProtocolError("session_required", "this request needs the Mcp-Session-Id header")
        count = self._ended.count  # read before the list is asked: a later ending counts further
        known = self._known.get(ident)
        if known is not None:
            session, counted = known
            is_theirs = client == session.client and endpoint == session.endpoint
            if is_theirs and now - session.opened_at <= MAX_AGE_S:
                if counted == count:
                    return session
                if ident not in self._ended:
                    self._known[ident] = (session, count)
                    return session
        ticket = open_ticket(self._key, "session", ident, now, MAX_AGE_S)
        payload = ticket.payload
        if ident in self._ended or payload.get("c") != client or payload.get("e") != (endpoint or ""):
            raise Refused("session_unknown", "this session was ended or belongs to someone else")
        scope = scope_of("session", ident)
        session = Session(
            ident=ident,
            version=str(payload.get("v", "")),
            client=client,
            endpoint=endpoint,
            opened_at=ticket.issued_at,
            caller=Caller(False, scope, "stream", frozenset(payload.get("a", ()))),
            deaf=Caller(False, scope, "stream"),
            resumes=payload.get("v") == RESUMING,
        )
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[ident] = (session, count)
        return session

    def close(self, ident: str | None, client: str, endpoint: PluginName | None, now: float) -> None:
        """End a session; its id is refused from now on."""
        self.end(self.find(ident, client, endpoint, now).ident, now)

    def spend(self, ticket: str, now: float, life_s: float) -> bool:
        """True the first time for a ticket that is good for one."""
        return self._ended.spend(ticket, now, life_s)

    @property
    def run(self) -> str:
        """Which run of the house remembers them."""
        return self._ended.run

    def is_ended(self, ident: str) -> bool:
        """Was this session ended?"""
        return ident in self._ended

    def end(self, ident: str, now: float) -> None:
        """End a session that is known to be its client's."""
        self._ended.add(ident, now)
