"""Cursors of our own lists: sealed, so that they mean something to us alone, in any of our processes.

Guarantees that a cursor is accepted only from the client that got it, at its endpoint, for its list, and only while that
list is what it was: a cursor into an older list is refused, never guessed at. It needs no expiry, since it names no more
than a page of what the same client may see anyway. Keeps nothing but the last cursors it made, so that an unchanged list
has unchanged bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.keys import open_ticket, seal_ticket
from sekisho.protocol import PluginName

__all__ = ["Cursors", "Place"]

MAX_KNOWN: Final = 1024
_NO_TIME: Final = 0.0  # cursors have none


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A page of a list, as one client sees it at one endpoint; `snapshot` is the digest of the whole list."""

    client: str
    endpoint: PluginName | None
    method: str
    snapshot: str
    page: int


class Cursors:
    """Seals and opens cursors; all processes of a house have one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[Place, str] = {}

    def seal(self, place: Place) -> str:
        """The cursor of a page."""
        found = self._known.get(place)
        if found is None:
            payload = {
                "c": place.client,
                "e": place.endpoint or "",
                "m": place.method,
                "s": place.snapshot,
                "p": place.page,
            }
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            found = self._known[place] = seal_ticket(self._key, "cursor", payload, _NO_TIME)
        return found

    def page(self, text: str, client: str, endpoint: PluginName | None, method: str, snapshot: str) -> int:
        """The page that a cursor names in the list as it is now; raises RemoteProtocolError (`params_invalid`)."""
        try:
            payload = open_ticket(self._key, "cursor", text, _NO_TIME, _NO_TIME).payload
        except Refused as error:
            raise RemoteProtocolError(
                "params_invalid", "this cursor was not given by this gateway", remedy=_REMEDY
            ) from error
        page = payload.get("p")
        asked = (payload.get("c"), payload.get("e"), payload.get("m"))
        if asked != (client, endpoint or "", method) or not isinstance(page, int):
            raise RemoteProtocolError("params_invalid", "this cursor belongs to another list", remedy=_REMEDY)
        if payload.get("s") != snapshot:
            raise RemoteProtocolError(
                "params_invalid", "the list has changed since this cursor was given", remedy=_REMEDY
            )
        return page


_REMEDY: Final = "ask for the list again from its start, without a cursor"
