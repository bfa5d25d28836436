"""What the journal knows by heart: the tree so far, and the files that are due because of it.

Guarantees: a tile or bundle is offered again until it is said to be stored, so a disk that was full for a
while leaves no hole. Memory is bounded by what is not stored yet. Values only: no file, no clock, no key.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.audit.note import Checkpoint
from sekisho.audit.tree import TILE_WIDTH, Frontier, TileRow, leaf_hash

__all__ = ["Bundle", "DueFiles", "Ledger"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The `index`-th run of 256 records, or of fewer when it is not full yet."""

    index: int
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DueFiles:
    """Tiles and bundles that have to be written before the next checkpoint."""

    tiles: tuple[TileRow, ...]
    bundles: tuple[Bundle, ...]


class Ledger:
    """The tree of one log and the files that follow from it."""

    __slots__ = ("_bundles", "_entries", "_frontier", "_origin", "_tiles")

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._frontier = Frontier(keep_tiles=True)
        self._entries: list[bytes] = []
        self._tiles: list[TileRow] = []
        self._bundles: list[Bundle] = []

    @property
    def size(self) -> int:
        """The number of records."""
        return self._frontier.size

    def add(self, record: bytes) -> None:
        """Take one record, without its line end."""
        self._frontier.append(leaf_hash(record))
        entries = self._entries
        entries.append(record)
        if len(entries) == TILE_WIDTH:
            self._bundles.append(Bundle(self._frontier.size // TILE_WIDTH - 1, tuple(entries)))
            self._tiles += self._frontier.take_tiles()
            entries.clear()

    def checkpoint(self) -> Checkpoint:
        """Return the statement about all records so far."""
        return Checkpoint(self._origin, self._frontier.size, self._frontier.root())

    def full_files(self) -> DueFiles:
        """Return the full tiles and bundles that are not said to be stored yet."""
        return DueFiles(tuple(self._tiles), tuple(self._bundles))

    def stored(self, files: DueFiles) -> None:
        """Forget files that `full_files` gave and that are stored now."""
        del self._tiles[: len(files.tiles)]
        del self._bundles[: len(files.bundles)]

    def partial_files(self) -> DueFiles:
        """Return the tiles and the bundle that are not full, as they stand now."""
        entries = self._entries
        rest = (Bundle(self._frontier.size // TILE_WIDTH, tuple(entries)),) if entries else ()
        return DueFiles(tuple(self._frontier.partial_tiles()), rest)
