"""One call as nearly all are: sent once, answered once, and nothing is asked or said in its midst.

Knows who calls and what it waits for, and passes all that happens to it on to its owner (`plain_calls`); decides nothing.
"""

from __future__ import annotations

from typing import Final, Protocol

from sekisho.plugin_server.contexts import Known
from sekisho.plugin_server.era import NOT_ASKED
from sekisho.plugin_server.exchange import Exchange
from sekisho.plugin_server.input_required import asks_within, is_input_required
from sekisho.plugin_server.roster import Entry
from sekisho.plugin_server.session import Answer, PluginSession
from sekisho.wire import CallContext, Inbound

__all__ = ["NO_CONTEXT", "Owner", "PlainCall"]

NO_CONTEXT: Final = CallContext()


class Owner(Protocol):
    """Who keeps plain calls."""

    def promote(self, call: PlainCall) -> Exchange:
        """The exchange that takes the place of this call."""

    def finish(self, call: PlainCall, answer: Answer) -> None:
        """The plugin answered with something else than a result."""

    def withdraw(self, call: PlainCall, reason: str) -> None:
        """Nobody waits for it any more."""

    def overdue(self, call: PlainCall) -> None:
        """Its time is over."""


class PlainCall:
    """One of them; called with its answer. It is forgotten when it ends."""

    __slots__ = ("deadline", "ident", "inbound", "known", "owner", "session", "timeout_s", "under_way")

    def __init__(
        self,
        owner: Owner,
        inbound: Inbound,
        *,
        under_way: dict[Inbound | Exchange, Entry],
        session: PluginSession,
        deadline: float,
        timeout_s: float,
        known: Known | None,
    ) -> None:
        self.owner = owner
        self.under_way = under_way
        self.session = session
        self.inbound = inbound
        self.deadline = deadline
        self.timeout_s = timeout_s
        self.known = known  # None: nothing is known of its client
        self.ident = 0  # of the request to the plugin

    @property
    def context(self) -> CallContext:
        """What is known of its client."""
        return NO_CONTEXT if self.known is None else self.known.context

    @property
    def scope(self) -> str:
        """Whose call it is; "" if nobody knows."""
        return "" if self.known is None else self.known.scope

    @property
    def can_be_asked(self) -> bool:
        """True if its client may be asked anything at all."""
        return bool(self.scope) and not NOT_ASKED.issuperset(self.context.may_ask)

    @property
    def is_asking(self) -> bool:
        """Never: whoever asks is an exchange."""
        return False

    def as_exchange(self) -> Exchange:
        """The exchange it becomes."""
        return self.owner.promote(self)

    def __call__(self, answer: Answer) -> None:
        if isinstance(answer, bytes) and not (self.session.modern and is_input_required(answer)):
            if (
                self.under_way.pop(self.inbound, None) is not None
            ):  # else it was withdrawn, or its time is over
                self.inbound.reply(answer)
        else:
            self.owner.finish(self, answer)

    def take_large(self, place: bytes | bytearray, start: int, end: int) -> None:
        """Its result, passed on from where it lies: see `answers.TakeLarge`."""
        result = memoryview(place)[start:end]
        if self.session.modern and asks_within(place, start, end):
            self.owner.finish(self, bytes(result))
        elif self.under_way.pop(self.inbound, None) is not None:
            self.inbound.reply(result)

    def withdraw(self, reason: str) -> None:
        """Nobody waits for it any more."""
        self.owner.withdraw(self, reason)

    def overdue(self) -> None:
        """Its time is over."""
        self.owner.overdue(self)
