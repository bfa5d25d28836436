"""Who is under way: every call to the plugin, and for those that talk with it the request they wait for.

Guarantees that whoever wants to know for whom the plugin works right now gets the truth, parked calls included, and
those that were withdrawn: whether the plugin heeds that is its own affair, so for as long as it has for a call, or
until it answers nevertheless, it may still be at work for them. Calls enter and leave for the price of one entry;
what is asked about them is found out when it is asked, which is as often as a plugin asks or speaks in their midst,
among no more calls than may be under way. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sekisho.plugin_server.exchange import Exchange
from sekisho.wire import Inbound

__all__ = ["Entry", "Roster"]

MAX_LEFT: Final = 1_024  # a client that calls and withdraws without end is not remembered call by call


class Entry(Protocol):
    """A call under way."""

    deadline: float

    @property
    def inbound(self) -> Inbound | None:
        """Its caller, unless it is parked."""

    @property
    def scope(self) -> str:
        """Whose call it is; "" if nobody knows."""

    @property
    def can_be_asked(self) -> bool:
        """True if its client may be asked anything at all."""

    @property
    def is_asking(self) -> bool:
        """True while the plugin waits for the client."""

    def as_exchange(self) -> Exchange:
        """Itself as one that talks with the plugin."""

    def withdraw(self, reason: str) -> None:
        """Nobody waits for it any more."""

    def overdue(self) -> None:
        """Its time is over."""


class Roster:
    """Calls by their caller, parked ones by themselves."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.entries: dict[Inbound | Exchange, Entry] = {}
        self.exchanges: dict[Exchange, int] = {}  # and the request each waits for, or 0
        self._by_ident: dict[int, Exchange] = {}
        self._now = now
        self._left: dict[int, tuple[str, float]] = {}  # withdrawn requests: of which scope, and until when
        self._crowded_until = 0.0

    def enter(self, inbound: Inbound, exchange: Exchange) -> None:
        """A call talks with the plugin: a new one, or one that was here before and keeps its turn."""
        self.entries[inbound] = exchange
        self.exchanges[exchange] = 0
        self.waits(exchange)

    def waits(self, exchange: Exchange) -> bool:
        """Its request has changed; False if it is not here."""
        if exchange not in self.exchanges:
            return False
        self._by_ident.pop(self.exchanges[exchange], None)
        self.exchanges[exchange] = exchange.ident
        if exchange.ident:
            self._by_ident[exchange.ident] = exchange
        return True

    def park(self, exchange: Exchange) -> None:
        """It loses its caller."""
        if exchange.inbound is not None and self.entries.pop(exchange.inbound, None) is not None:
            self.entries[exchange] = exchange

    def carry_on(self, exchange: Exchange, inbound: Inbound) -> None:
        """It has a caller again."""
        if self.entries.pop(exchange, None) is not None:
            self.entries[inbound] = exchange

    def leave(self, exchange: Exchange) -> None:
        """It is over."""
        self.entries.pop(exchange if exchange.inbound is None else exchange.inbound, None)
        ident = self.exchanges.pop(exchange, None)
        if ident is not None:
            self._by_ident.pop(ident, None)

    def leave_behind(self, ident: int, scope: str, timeout_s: float) -> None:
        """A request was withdrawn; for so long the plugin may be at work for it."""
        now = self._now()
        for known in [known for known, (_, until) in self._left.items() if until <= now]:
            del self._left[known]
        if len(self._left) < MAX_LEFT:
            self._left[ident] = (scope, now + timeout_s)
        else:
            self._crowded_until = max(self._crowded_until, now + timeout_s)

    def answered_late(self, ident: int | str | None) -> None:
        """The plugin answered what nobody waits for any more."""
        if isinstance(ident, int):
            self._left.pop(ident, None)

    def begin_anew(self) -> None:
        """The plugin has just been started."""
        self._left.clear()
        self._crowded_until = 0.0

    def that_waits_for(self, ident: int) -> Exchange | None:
        """The call among those that talk with the plugin that waits for this request."""
        return self._by_ident.get(ident)

    def newest(self) -> Entry:
        """The call that began last, of those whose caller waits if there are any; of no calls there is none."""
        latest = [*self.entries.values()][::-1]
        return next((entry for entry in latest if entry.inbound is not None), latest[0])

    @property
    def is_for_one_scope(self) -> bool:
        """True if all calls under way, or withdrawn lately, belong to one scope; those without could be anybody's."""
        one = ""
        for entry in self.entries.values():
            scope = entry.scope
            if not scope or (one and scope != one):
                return False
            one = scope
        if self._left or self._crowded_until:
            now = self._now()
            if self._crowded_until > now or any(
                until > now and scope != one for scope, until in self._left.values()
            ):
                return False
        return bool(one)
