"""How calls of tools are written in one session: what stands before the arguments, and what behind them.

Guarantees that a tool's name is written as JSON, and that what a call says of its client is exactly its stamp (`era`).
What calls have in common is written once, and what is kept is bounded. Judgement: values in, bytes out.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sekisho.plugin_server.era import NO_STAMP, Stamp, tails

__all__ = ["CallWords"]

MAX_HEADS: Final = 5_000
_encode: Final = msgspec.json.Encoder().encode


class CallWords:
    """Those of one session."""

    def __init__(self, *, has_roots: bool) -> None:
        self._has_roots = has_roots
        self._modern = False
        self._heads: dict[str, bytes] = {}  # by tool, which the core's token has named
        self._tails: dict[Stamp, tuple[bytes, bytes]] = {}
        self.plain = self.tails_of(NO_STAMP)  # of a call that says nothing of its client

    def agree(self, *, modern: bool) -> None:
        """From now on calls are of this era."""
        self._modern = modern
        self._tails.clear()
        self.plain = self.tails_of(NO_STAMP)

    def head_of(self, tool: str) -> bytes:
        """What stands between the id and the arguments."""
        head = self._heads.get(tool)
        if head is None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            head = b',"method":"tools/call","params":{"name":' + _encode(tool) + b',"arguments":'
            self._heads[tool] = head
        return head

    def tails_of(self, stamp: Stamp) -> tuple[bytes, bytes]:
        """What ends a call with this stamp, without and with progress."""
        known = self._tails.get(stamp)
        if known is None:
            known = tails(stamp, modern=self._modern, has_roots=self._has_roots)
            if not stamp.meta:  # trace context is another for each call
                self._tails[stamp] = known
        return known
