"""The Merkle tree of RFC 6962: hashes, roots and proofs over the bytes of records.

Guarantees: two different sequences of records never share a root; a proof that verifies shows that a record
is in the tree (inclusion) or that a later tree only added to an earlier one (consistency). Leaves and inner
nodes are hashed under different prefixes, so neither can pose as the other. Deliberately knows no file, key,
clock or JSON: values in, values out. Above it: `journal` grows a `Frontier`, `verifier` rebuilds one, `tiles`
stores its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "TILE_WIDTH",
    "Frontier",
    "TileRow",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

TILE_WIDTH: Final = 256  # C2SP tlog-tiles: a tile holds the nodes of a subtree of height 8
HASH_BYTES: Final = 32
_sha256: Final = sha256  # compiled code looks an imported name up for each call, and a constant not
EMPTY_ROOT: Final = _sha256().digest()


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of one record (RFC 6962 section 2.1: prefix 0x00)."""
    return _sha256(b"\x00" + record).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\x01%b%b" % (left, right)).digest()


@dataclass(frozen=True, slots=True)
class TileRow:
    """The `index`-th tile at tile level `level`: 1 to 256 node hashes, joined; 256 make it full."""

    level: int
    index: int
    hashes: bytes

    @property
    def width(self) -> int:
        """How many hashes it has."""
        return len(self.hashes) // HASH_BYTES


class Frontier:
    """A growing tree that keeps only what later roots need: at most 255 hashes per 256-ary level.

    Leaves are only collected; every 256th costs 255 hashes at once: one node hash per leaf, the least a
    Merkle tree can cost. With `keep_tiles`, full tiles are held until `take_tiles` fetches them.
    """

    __slots__ = ("_full", "_keep_tiles", "_levels", "_size")

    def __init__(self, *, keep_tiles: bool = False) -> None:
        self._levels: list[list[bytes]] = [[]]
        self._size = 0
        self._keep_tiles = keep_tiles
        self._full: list[TileRow] = []

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        bottom = self._levels[0]
        bottom.append(leaf)
        self._size += 1
        if len(bottom) == TILE_WIDTH:
            self.extend([])

    def extend(self, leaves: list[bytes]) -> None:
        """Add leaf hashes."""
        bottom = self._levels[0]
        bottom += leaves
        self._size += len(leaves)
        while len(bottom) >= TILE_WIDTH:
            full = bottom[:TILE_WIDTH]
            del bottom[:TILE_WIDTH]
            self._carry(0, full, (self._size - len(bottom)) // TILE_WIDTH - 1)

    def _carry(self, level: int, full: list[bytes], index: int) -> None:
        """Put the root of a full tile into the level above."""
        if self._keep_tiles:
            self._full.append(TileRow(level, index, b"".join(full)))
        if level + 1 == len(self._levels):
            self._levels.append([])
        above = self._levels[level + 1]
        above.append(_perfect_root(full))
        if len(above) == TILE_WIDTH:
            self._levels[level + 1] = []
            self._carry(level + 1, above, index // TILE_WIDTH)

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        found: bytes | None = None
        for row in self._levels:
            found = _fold(row, found)
        return EMPTY_ROOT if found is None else found

    def take_tiles(self) -> list[TileRow]:
        """Return the tiles that became full since the last time, and forget them."""
        taken, self._full = self._full, []
        return taken

    def partial_tiles(self) -> list[TileRow]:
        """Return the tiles that are not full yet, lowest level first."""
        return [
            TileRow(level, self._size >> (8 * (level + 1)), b"".join(row))
            for level, row in enumerate(self._levels)
            if row
        ]


def _perfect_root(nodes: list[bytes]) -> bytes:
    """Return the root over a power of two of nodes."""
    while len(nodes) > 1:
        nodes = [_sha256(b"\x01" + nodes[i] + nodes[i + 1]).digest() for i in range(0, len(nodes), 2)]
    return nodes[0]


def _fold(nodes: list[bytes], right: bytes | None) -> bytes | None:
    """Join the perfect subtrees of `nodes`, smallest (rightmost) first, in front of the tree `right`."""
    end = len(nodes)
    while end:
        width = end & -end
        subtree = _perfect_root(nodes[end - width : end])
        right = subtree if right is None else _node_hash(subtree, right)
        end -= width
    return right


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the given leaf hashes."""
    found = _fold(list(leaves), None)
    return EMPTY_ROOT if found is None else found


def _split(size: int) -> int:
    """Return the largest power of two below `size` (RFC 6962 calls it k)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of RFC 6962 section 2.1.1, from the leaf upwards."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} in a tree of {len(leaves)}")
    path: list[bytes] = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low = middle
    path.reverse()
    return path


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Iterable[bytes], root: bytes) -> bool:
    """True when `proof` shows that `leaf` is leaf `index` of `size` under `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = _node_hash(sibling, found)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found = _node_hash(found, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and found == root


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof of RFC 6962 section 2.1.2 that the first `old_size` leaves are still the same."""
    if not 0 < old_size <= len(leaves):
        raise ValueError(f"no proof from {old_size} leaves to {len(leaves)}")
    path: list[bytes] = []
    low, high, whole = 0, len(leaves), True
    while old_size != high:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(root_of(leaves[middle:high]))
            high = middle
        else:
            path.append(root_of(leaves[low:middle]))
            low, whole = middle, False
    if not whole:
        path.append(root_of(leaves[low:high]))
    path.reverse()
    return path


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """True when `proof` shows that the old tree is a prefix of the new one (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)  # a perfect old tree is its own first node and is left out of the proof
    if not path:
        return False
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old = _node_hash(sibling, old)
            new = _node_hash(sibling, new)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            new = _node_hash(new, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and old == old_root and new == new_root
