"""Questions of plugins that wait for a client: unguessable handles, who may answer, and how many there may be.

Guarantees that an answer reaches only the question it names, from the scope that was asked, once; that a handle says
nothing and cannot be guessed; and that neither one scope nor all together can fill our memory with open questions.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Final, Generic, TypeVar

__all__ = ["MAX_OPEN", "MAX_OPEN_PER_SCOPE", "Handles"]

MAX_OPEN: Final = 1_024  # each holds a call of the plugin, and what was asked
MAX_OPEN_PER_SCOPE: Final = 32  # one client that never answers must leave room for the others
HANDLE_BYTES: Final = 16

Waiting = TypeVar("Waiting")


class Handles(Generic[Waiting]):
    """What waits under a handle, each for one scope."""

    def __init__(self) -> None:
        self._table: dict[str, tuple[str, Waiting]] = {}
        self._per_scope: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, handle: str) -> bool:
        return handle in self._table

    def add(self, scope: str, waiting: Waiting) -> str | None:
        """A new handle, or None if there are too many."""
        if len(self._table) >= MAX_OPEN or self._per_scope[scope] >= MAX_OPEN_PER_SCOPE:
            return None
        handle = secrets.token_urlsafe(HANDLE_BYTES)
        self._table[handle] = (scope, waiting)
        self._per_scope[scope] += 1
        return handle

    def take(self, handle: str, scope: str) -> Waiting | None:
        """What waits under this handle for this scope; it waits no longer."""
        waiting = self.look(handle, scope)
        if waiting is not None:
            self.drop(handle)
        return waiting

    def look(self, handle: str, scope: str) -> Waiting | None:
        """What waits under this handle for this scope; it waits on."""
        found = self._table.get(handle)
        return None if found is None or found[0] != scope else found[1]

    def drop(self, handle: str) -> None:
        """Nothing waits under this handle any more."""
        found = self._table.pop(handle, None)
        if found is not None:
            self._per_scope[found[0]] -= 1
            if not self._per_scope[found[0]]:
                del self._per_scope[found[0]]
