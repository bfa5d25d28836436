"""Streams that a client can take up again where they broke off (MCP 2025-11-25, resumability; SEP-1699).

For sessions of that revision: older clients do not expect the empty event that such a stream begins with, and newer ones
have no resumption. Only what is a stream already costs anything here; an answer in plain JSON never comes this way.

Guarantees
- every event has an id; with the latest one it read, the client of the same session gets what came after it, and then the
  stream goes on there;
- a call whose stream broke off is withdrawn when nobody came back for it in time, not before and not much later;
- what is kept is bounded: in seconds, in bytes for each stream and all of them, and in number for each client and all of
  them. What does not fit is not kept; then the client gets what is left, or a refusal.

Kept in the process that served the stream. Another one refuses to resume a call's stream (`stream_unknown`), and begins a
new one for news that belong to no call. Knows no socket.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from sekisho.errors import Refused, SekishoError
from sekisho.gateway.events import LAST_CHUNK, marked_event, priming_event
from sekisho.gateway.guest import CLIENT_GONE, Guest, Withdrawable
from sekisho.keys import Pending, Principal

__all__ = ["ResumableStream", "ResumableStreams"]

RESUME_S: Final = 10.0  # how long a broken stream waits for its client
RETRY_MS: Final = 500  # when a client is to come back
MAX_STREAM_BYTES: Final = 1 << 20
MAX_ALL_BYTES: Final = 32 << 20
MAX_AWAY: Final = 256  # broken streams that wait
MAX_AWAY_OF_CLIENT: Final = 32
MAX_ENDED: Final = 256  # streams that are complete, whose last event may not have arrived

_EVENT_ID: Final = re.compile(r"([cn])([A-Za-z0-9_-]{22})\.([0-9]{1,9})")


class ResumableStreams:
    """All of them in this process."""

    def __init__(self, now: Callable[[], float], is_ended: Callable[[str], bool]) -> None:
        self.now = now
        self.kept_bytes = 0
        self._is_ended = is_ended
        # Whose a stream is, its client and session say; the word says whose process, and is drawn once: asking the system
        # for randomness takes longer than everything else about a stream.
        self._word = secrets.token_urlsafe(9)
        self._started = 0
        self._streams: dict[str, ResumableStream] = {}
        self._away: dict[str, ResumableStream] = {}
        self._away_of: Counter[str] = Counter()
        self._ended: deque[ResumableStream] = deque()

    def start(
        self, guest: Guest, client: str, session: str, owner: Withdrawable, *, is_call: bool
    ) -> ResumableStream:
        """A stream to this connection, of a call or of news that belong to none."""
        self._started += 1
        ident = f"{'c' if is_call else 'n'}{self._word}{self._started:010d}"
        stream = self._streams[ident] = ResumableStream(self, ident, guest, (client, session), owner)
        return stream

    def find(self, event_id: str, client: str, session: str) -> tuple[ResumableStream, int] | None:
        """The stream of this event, and the event's number; None if a new stream of news is as good.

        Raises:
            Refused: `stream_unknown`; nobody here knows the rest of that call.
        """
        found = _EVENT_ID.fullmatch(event_id)
        stream = None if found is None else self._streams.get(found[1] + found[2])
        if found is not None and stream is not None and stream.is_of(client, session):
            return stream, int(found[3])
        if found is not None and found[1] == "n":
            return None
        raise Refused("stream_unknown", "this stream cannot be resumed here, or not any more")

    def may_wait(self, client: str, session: str) -> bool:
        """Is there room for one more that is broken, in a session that goes on?"""
        is_full = len(self._away) >= MAX_AWAY or self._away_of[client] >= MAX_AWAY_OF_CLIENT
        return not is_full and not self._is_ended(session)

    def went(self, stream: ResumableStream) -> None:
        """A stream broke."""
        self._away[stream.ident] = stream
        self._away_of[stream.of[0]] += 1

    def came(self, stream: ResumableStream) -> None:
        """It waits no more."""
        if self._away.pop(stream.ident, None) is not None:
            self._away_of[stream.of[0]] -= 1
            if not self._away_of[stream.of[0]]:
                del self._away_of[stream.of[0]]

    def ended(self, stream: ResumableStream) -> None:
        """A stream is complete; it is kept for a while."""
        self._ended.append(stream)
        while len(self._ended) > MAX_ENDED:
            self.forget(self._ended.popleft())

    def forget(self, stream: ResumableStream) -> None:
        """Keep nothing of it."""
        if self._streams.pop(stream.ident, None) is not None:
            stream.drop()

    def expire(self, now: float) -> None:
        """Withdraw what nobody came back for; to be called every second or so."""
        while self._ended and self._ended[0].until <= now:
            self.forget(self._ended.popleft())
        for stream in [one for one in self._away.values() if one.until <= now]:
            stream.give_up()

    def end(self, session: str) -> None:
        """A session is over: nobody comes back to it."""
        for stream in [one for one in self._away.values() if one.of[1] == session]:
            stream.give_up()


class ResumableStream:
    """One stream, in the place of the connection it goes to."""

    client: str | None
    certificate: str | None = None
    shown: Principal | Pending | None = None

    def __init__(
        self,
        streams: ResumableStreams,
        ident: str,
        guest: Guest,
        of: tuple[str, str],
        owner: Withdrawable,
    ) -> None:
        self._streams = streams
        self.ident = ident
        self.client = of[0]
        self.owner = owner
        self.until = float("inf")
        self.of = of
        self._guest: Guest | None = guest
        self._number = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._is_ended = False

    def is_of(self, client: str, session: str) -> bool:
        """Does it belong to this session?"""
        return self.of == (client, session)

    # for the visit

    def admit(self, client: str) -> bool:
        """Whose it is was known before it began."""
        return client == self.client

    def open(self, head: bytes, data: bytes) -> bool:
        """Begin: the head, an event that names a place to come back to, and what there is to say already."""
        assert self._guest is not None  # noqa: S101  # it was given a moment ago
        first = priming_event(self._event_id(0), RETRY_MS)
        said = self._mark(data) if data else b""
        if not self._guest.begin(head + first + said):
            self._streams.forget(self)
            return False
        self._keep(said)
        return True

    def begin(self, data: bytes) -> bool:
        """Send a piece, or keep it for whoever comes back."""
        if not data:
            return True
        piece = self._mark(data)
        if self._guest is not None and not self._guest.begin(piece):
            return False  # the client lags: this is dropped, as from every stream
        self._keep(piece)
        return True

    def answer(self, data: bytes) -> None:
        """Send or keep the end."""
        if self._is_ended:
            return  # nobody came back in time
        last = data.removesuffix(LAST_CHUNK)
        piece = self._mark(last) if last else b""
        self._keep(piece)
        guest, self._guest = self._guest, None
        self._streams.came(self)
        if guest is not None:
            guest.answer(piece + LAST_CHUNK)
        self._is_ended = True
        self.until = self._streams.now() + RESUME_S
        self._streams.ended(self)

    def answer_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """The same of a large one; no stream is given any."""
        self.answer(b"".join(parts))

    def holds(self, reason: SekishoError) -> bool:
        """May what this stream is for go on, since its client may come back?"""
        if reason is not CLIENT_GONE or self._is_ended or self._guest is None:
            return False
        if not self._streams.may_wait(*self.of):
            return False
        self._guest = None
        self.until = self._streams.now() + RESUME_S
        self._streams.went(self)
        return True

    # for whoever comes back

    def resume(self, guest: Guest, head: bytes, number: int) -> ResumableStream:
        """Go on at this connection behind the event of this number."""
        rest = b"".join(piece for at, piece in self._kept if at > number)
        if self._is_ended:
            guest.begin(head + rest)
            guest.answer(LAST_CHUNK)
            return self
        before, self._guest = self._guest, guest
        self._streams.came(self)
        if before is not None:
            before.answer(LAST_CHUNK)  # the client was quicker than the news of its lost connection
        guest.begin(head + rest)
        return self

    def withdraw(self, reason: SekishoError) -> None:
        """The connection that it went on at is gone, or the house closes."""
        self.owner.withdraw(reason)

    def give_up(self) -> None:
        """Nobody came back."""
        self.owner.withdraw(Refused("cancelled", "the client did not come back for its stream"))
        self._streams.forget(self)

    def drop(self) -> None:
        """Keep nothing."""
        self._streams.came(self)
        self._is_ended = True
        self._kept.clear()
        self._count(-self._kept_bytes)

    def _event_id(self, number: int) -> bytes:
        return b"%b.%d" % (self.ident.encode("ascii"), number)

    def _mark(self, data: bytes) -> bytes:
        return marked_event(data, self._event_id(self._number + 1))

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        self._number += 1
        if self._is_ended or len(piece) > MAX_STREAM_BYTES:
            return
        self._kept.append((self._number, piece))
        self._count(len(piece))
        while self._kept and (
            self._kept_bytes > MAX_STREAM_BYTES or self._streams.kept_bytes > MAX_ALL_BYTES
        ):
            self._count(-len(self._kept.popleft()[1]))

    def _count(self, size: int) -> None:
        self._kept_bytes += size
        self._streams.kept_bytes += size
