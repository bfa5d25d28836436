"""Legacy sessions without memory: the session id is a sealed ticket (decision 0007).

A ticket is bound to the client and the endpoint that opened it, expires, and can be ended; only ended ones are kept,
in a bounded list, until they expire. A restart of the core ends no session.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.keys import open_ticket, seal_ticket
from sekisho.protocol import PluginName

__all__ = ["Session", "Sessions"]

MAX_AGE_S = 24 * 3600.0  # a stolen ticket also needs the token; a day is longer than any client stays
MAX_ENDED = (
    100_000  # remembered endings: a client that opens and ends sessions in a loop must not fill the memory
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session of a legacy client."""

    ident: str
    version: str


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._ended: OrderedDict[str, None] = OrderedDict()

    def open(self, client: str, endpoint: PluginName | None, version: str, now: float) -> str:
        """A new session id."""
        return seal_ticket(self._key, "session", {"c": client, "e": endpoint or "", "v": version}, now)

    def find(self, ident: str | None, client: str, endpoint: PluginName | None, now: float) -> Session:
        """The session of this id, if this client opened it at this endpoint and did not end it."""
        if ident is None:
            raise RemoteProtocolError("session_required", "this request needs the Mcp-Session-Id header")
        payload = open_ticket(self._key, "session", ident, now, MAX_AGE_S)
        if ident in self._ended or payload.get("c") != client or payload.get("e") != (endpoint or ""):
            raise Refused("session_unknown", "this session was ended or belongs to someone else")
        return Session(ident=ident, version=str(payload.get("v", "")))

    def close(self, ident: str | None, client: str, endpoint: PluginName | None, now: float) -> None:
        """End a session; its id is refused from now on."""
        session = self.find(ident, client, endpoint, now)
        self._ended[session.ident] = None
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
