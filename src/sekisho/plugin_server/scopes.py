"""What each client's session has set with this plugin: its log level and the resources it follows.

Guarantees that the table is bounded, that the least recently used scope is forgotten first and whole, and that the
number of scopes and listeners which follow a resource is exact, so that the plugin is asked once for all of them.

Judgement: values in, values out. A scope is an opaque name that the core gives; nothing here names a client.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

__all__ = ["LEVELS", "Interest", "Scope", "Scopes", "is_part_of"]

MAX_SCOPES: Final = 10_000  # a client that opens sessions for ever must not fill our memory
MAX_URIS_PER_SCOPE: Final = 256
MAX_URIS: Final = 10_000
LEVELS: Final = {
    name: rank
    for rank, name in enumerate(
        ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
    )
}


class Scope(msgspec.Struct, gc=False):
    """One session of one client. `level` is None until it has set one."""

    level: str | None = None
    uris: set[str] = msgspec.field(default_factory=set)


class Interest:
    """How many follow each resource."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, uris: Iterable[str]) -> list[str]:
        """One more follows these; those that nobody followed before. Beyond the bound nothing is added."""
        new = []
        for uri in uris:
            if uri in self._counts or len(self._counts) < MAX_URIS:
                self._counts[uri] += 1
                if self._counts[uri] == 1:
                    new.append(uri)
        return new

    def drop(self, uris: Iterable[str]) -> list[str]:
        """One less follows these; those that nobody follows any more."""
        gone = []
        for uri in uris:
            if self._counts[uri] > 1:
                self._counts[uri] -= 1
            elif self._counts.pop(uri, 0):
                gone.append(uri)
        return gone

    @property
    def uris(self) -> list[str]:
        """All that somebody follows."""
        return list(self._counts)

    def __contains__(self, uri: str) -> bool:
        return uri in self._counts


class Scopes:
    """The bounded table; a scope exists from the first thing it sets."""

    def __init__(self, interest: Interest) -> None:
        self._interest = interest
        self.table: OrderedDict[str, Scope] = OrderedDict()
        self._levels: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.table)

    def get(self, name: str) -> Scope | None:
        """What this scope has set, if anything."""
        scope = self.table.get(name)
        if scope is not None:
            self.table.move_to_end(name)
        return scope

    def set_level(self, name: str, level: str) -> list[str]:
        """From now on this scope wants logs of this level and above; resources that nobody follows any more."""
        scope, gone = self._open(name)
        self._count_level(scope, -1)
        scope.level = level
        self._count_level(scope, 1)
        return gone

    def follow(self, name: str, uri: str) -> tuple[bool, list[str]]:
        """This scope follows a resource; False if it follows too many. Also what nobody follows any more."""
        scope, gone = self._open(name)
        if uri in scope.uris:
            return True, gone
        if len(scope.uris) >= MAX_URIS_PER_SCOPE:
            return False, gone
        self._interest.add([uri])
        if uri not in self._interest:
            return False, gone
        scope.uris.add(uri)
        return True, gone

    def unfollow(self, name: str, uri: str) -> list[str]:
        """This scope follows it no longer; what nobody follows any more."""
        scope = self.get(name)
        if scope is None or uri not in scope.uris:
            return []
        scope.uris.discard(uri)
        return self._interest.drop([uri])

    def most_verbose(self) -> str | None:
        """The lowest level that any scope wants."""
        return next((level for level in LEVELS if self._levels[level] > 0), None)

    def _count_level(self, scope: Scope, change: int) -> None:
        if scope.level is not None:
            self._levels[scope.level] += change

    def _open(self, name: str) -> tuple[Scope, list[str]]:
        scope = self.get(name)
        if scope is not None:
            return scope, []
        scope = self.table[name] = Scope()
        gone: list[str] = []
        if len(self.table) > MAX_SCOPES:
            _, forgotten = self.table.popitem(last=False)
            self._count_level(forgotten, -1)
            gone = self._interest.drop(forgotten.uris)
        return scope, gone


def is_part_of(uri: str, followed: str) -> bool:
    """Is a change of this resource one of the followed resource? MCP lets a server name a part of it."""
    return uri == followed or uri.startswith(followed.rstrip("/") + "/")
