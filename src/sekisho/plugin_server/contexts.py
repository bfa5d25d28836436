"""What is known of the clients that call: the contexts of their calls, read once for each session.

Guarantees that a context is read whole or refuses its call, that one meant for another instance of the plugin is refused,
and that what is kept is bounded. What a context says of one call alone is not kept.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import Misconfigured
from sekisho.plugin_server.session import PluginSession
from sekisho.wire import CallContext, decode_context

__all__ = ["Contexts", "Known"]

MAX_CONTEXTS: Final = 4_096  # kept in our memory; each a few hundred bytes


class Known:
    """A context, and how calls with it are written in a session with the plugin: see `plain_calls`."""

    __slots__ = ("context", "is_plain", "level", "scope", "session", "tails")

    def __init__(self, context: CallContext, is_plain: bool) -> None:
        self.context = context
        self.scope = context.scope
        self.is_plain = is_plain  # it says nothing of one call alone
        self.session: PluginSession | None = None
        self.level: str | None = None  # of the log lines that its calls want
        self.tails = (b"", b"")


class Contexts:
    """Those of one plugin, or of one instance of it."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._known: dict[bytes, Known] = {}
        self.get: Final = self._known.get

    def read(self, text: bytes) -> Known:
        """What this context says; raises `RemoteProtocolError` or `Misconfigured`."""
        known = self._known.get(text)
        if known is not None:
            return known
        context = decode_context(text)
        if context.instance != self._instance:
            raise Misconfigured(
                "config_invalid", "core and plugin server do not agree whether clients share the plugin"
            )
        known = Known(context, not (context.meta or context.input_responses or context.request_state))
        if known.is_plain and text:  # of a call that brings none, nothing is known
            if len(self._known) >= MAX_CONTEXTS:
                self._known.clear()
            self._known[text] = known
        return known
