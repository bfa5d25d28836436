"""Who is under way: every call to the plugin, and for those with a context the request it waits for and its scope.

Guarantees that the tables agree: a call is in all of them or in none, parked calls included; so that whoever wants to
know for whom the plugin works right now gets the truth. Decides nothing.
"""

from __future__ import annotations

from typing import Protocol

from sekisho.plugin_server.exchange import Exchange
from sekisho.wire import Inbound

__all__ = ["Entry", "Roster"]


class Entry(Protocol):
    """A call under way."""

    deadline: float

    def withdraw(self, reason: str) -> None:
        """Nobody waits for it any more."""

    def overdue(self) -> None:
        """Its time is over."""


class Roster:
    """Calls by their caller, parked ones by themselves."""

    def __init__(self) -> None:
        self.entries: dict[Inbound | Exchange, Entry] = {}
        self.exchanges: dict[Exchange, int] = {}  # and the request each waits for, or 0
        self._by_ident: dict[int, Exchange] = {}
        self._scopes: dict[str, int] = {}  # of the exchanges, and how many

    def enter(self, inbound: Inbound, exchange: Exchange) -> None:
        """A call with a context begins."""
        self.entries[inbound] = exchange
        self.exchanges[exchange] = 0
        self._scopes[exchange.scope] = self._scopes.get(exchange.scope, 0) + 1

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
            left = self._scopes[exchange.scope] - 1
            if left:
                self._scopes[exchange.scope] = left
            else:
                del self._scopes[exchange.scope]

    def that_waits_for(self, ident: int) -> Exchange | None:
        """The call with a context that waits for this request."""
        return self._by_ident.get(ident)

    @property
    def is_for_one_scope(self) -> bool:
        """True if all calls under way belong to one scope; those without context could be anybody's."""
        return len(self._scopes) == 1 and "" not in self._scopes and len(self.entries) == len(self.exchanges)
