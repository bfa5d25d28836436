"""Which requests of legacy sessions are under way, at all workers: an id may be used again once it was answered.

Guarantees that of two requests of one session with one id at most one is under way, whichever workers they reach; ids of
a killed worker are free again. Equal ids of two sessions, and the number 1 and the text "1", are different. The client
chooses ids, so the place of each is found by a keyed digest. With one worker none of this exists: the one process knows.
"""

from __future__ import annotations

from typing import Final, Protocol

from sekisho.errors import Unavailable
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.gateway.shared_table import DIGEST_BYTES

__all__ = ["RequestIds", "SharedRequestIds"]

MAX_SESSIONS: Final = 4096
_MASK: Final = (1 << 8 * DIGEST_BYTES) - 1


class RequestIds(Protocol):
    """Ids of requests under way."""

    def take(self, session: str, request: int | str) -> bool:
        """A request begins; False when one of this session with this id is under way elsewhere."""

    def give(self, session: str, request: int | str) -> None:
        """It was answered."""


class SharedRequestIds:
    """The ids of one worker among others."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._table = memory.requests
        self._mine = memory.worker + 1
        self._factor = int.from_bytes(memory.digest(b"ids of requests"), "little") | 1
        self._sessions: dict[str, int] = {}
        self._places: dict[tuple[str, int | str], int] = {}

    def take(self, session: str, request: int | str) -> bool:
        """A request begins; False when one of this session with this id is under way elsewhere.

        Raises:
            Unavailable: It cannot be known, or no place is left.
        """
        digest = self.digest(session, request)
        mutex = self._memory.mutex
        status = mutex.try_take()
        if status != 0:
            mutex.wait(status)
        try:
            place = self._place(digest)
        finally:
            mutex.release()
        if place < 0:
            return False
        self._places[session, request] = place
        return True

    def give(self, session: str, request: int | str) -> None:
        """It was answered; a place that becomes free makes nobody's decision wrong, so that no lock is needed."""
        self._table.free(self._places.pop((session, request)))

    def _place(self, digest: bytes) -> int:
        table = self._table
        place, free = table.find_or_free(digest)
        if place >= 0:
            owner = table.until(place)
            if owner == self._mine or self._memory.is_alive(owner - 1):
                return -1
            table.set_until(place, self._mine)
            return place
        if free < 0 and self._memory.free_the_dead():
            free = table.find_or_free(digest)[1]
        if free < 0:
            raise Unavailable("busy", "more requests of sessions are under way than can be told apart")
        table.put(free, digest, self._mine)
        return free

    def digest(self, session: str, request: int | str) -> bytes:
        """The name of a request."""
        known = self._sessions.get(session)
        if known is None:
            if len(self._sessions) >= MAX_SESSIONS:
                self._sessions.clear()
            known = int.from_bytes(self._memory.digest(session.encode()), "little")
            self._sessions[session] = known
        if isinstance(request, int):
            # one number to one; the first bytes choose the place, and who does not know the factor cannot choose them
            return ((known ^ request) * self._factor & _MASK).to_bytes(DIGEST_BYTES, "big")
        # a text from a client may hold what UTF-8 cannot carry
        text = request.encode("utf-8", "surrogatepass")
        return self._memory.digest(b"%d %b" % (known, text))
