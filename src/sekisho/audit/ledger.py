"""What the journal knows by heart: the tree so far, and the leaf hashes that are not stored beside the log yet.

Guarantees: leaf hashes are offered again until they are said to be stored, so a disk that was full for a
while leaves no hole. Memory is bounded by what is not stored yet; records themselves are not kept. Values
only: no file, no clock, no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sekisho.audit.note import Checkpoint
from sekisho.audit.tree import Frontier

__all__ = ["Leaves", "Ledger"]

_sha256: Final = sha256  # see `tree`


@dataclass(frozen=True, slots=True)
class Leaves:
    """A run of leaf hashes, joined; the first is that of record `first`."""

    first: int
    hashes: bytes


class Ledger:
    """The tree of one log, and the end of its list of leaves."""

    __slots__ = ("_frontier", "_leaves", "_origin")

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._frontier = Frontier()
        self._leaves: list[bytes] = []

    @property
    def size(self) -> int:
        """The number of records."""
        return self._frontier.size

    def add(self, record: bytes) -> None:
        """Take one record, without its line end."""
        self.extend([record])

    def extend(self, records: list[bytes]) -> None:
        """Take records, without their line ends."""
        leaves = [_sha256(b"\x00" + record).digest() for record in records]  # tree.leaf_hash without the call
        self._frontier.extend(leaves)
        self._leaves += leaves

    def checkpoint(self) -> Checkpoint:
        """Return the statement about all records so far."""
        return Checkpoint(self._origin, self._frontier.size, self._frontier.root())

    def leaves(self) -> Leaves:
        """Return the leaf hashes that are not said to be stored yet."""
        return Leaves(self._frontier.size - len(self._leaves), b"".join(self._leaves))

    def stored(self, leaves: Leaves) -> None:
        """Forget leaf hashes that `leaves` gave and that are stored now."""
        del self._leaves[: len(leaves.hashes) // 32]
