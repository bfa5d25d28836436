"""A bounded table of things that are true for a while.

Guarantees that a dead entry is never found, and that a full table drops what has been in it longest. Looking up is one
dictionary access. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Memo"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Values under keys, each until its own time."""

    __slots__ = ("_limit", "_table")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._table: dict[K, tuple[V, float]] = {}

    def find(self, key: K, now: float) -> V | None:
        """The value, while it is true."""
        found = self._table.get(key)
        if found is None:
            return None
        if found[1] <= now:
            del self._table[key]
            return None
        return found[0]

    def put(self, key: K, value: V, until: float, now: float) -> None:
        """Remember a value until that time."""
        if until <= now:
            return
        self._table.pop(key, None)
        if len(self._table) >= self._limit:
            del self._table[next(iter(self._table))]
        self._table[key] = (value, until)

    def drop(self, is_over: Callable[[V], bool]) -> None:
        """Forget every value for which this holds."""
        self._table = {key: entry for key, entry in self._table.items() if not is_over(entry[0])}

    def clear(self) -> None:
        """Forget everything."""
        self._table.clear()

    def __len__(self) -> int:
        return len(self._table)
