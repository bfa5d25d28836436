"""Static files from which anyone can check the log: C2SP tlog-tiles paths, hash tiles and entry bundles.

Guarantees: a tile appears whole or not at all (written aside, then renamed), and a full tile replaces its
partial forms. Tiles repeat what the log says and are never trusted: a missing one is rebuilt when the journal
opens, and readers check them against the signed checkpoint. Decides nothing about when they are due;
`journal` does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sekisho.audit.tree import TILE_WIDTH, TileRow

__all__ = [
    "MAX_ENTRY_BYTES",
    "TileFolder",
    "bundle",
    "bundle_path",
    "folder_of",
    "replace_file",
    "tile_path",
    "unbundle",
]

MAX_ENTRY_BYTES: Final = 65_535  # tlog-tiles: the length prefix of an entry has two bytes
_HASH_BYTES: Final = 32


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a hash tile, such as `tile/0/x001/x234/067` or `tile/1/000.p/12`."""
    return f"tile/{level}/{_number(index)}{_partial(width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of an entry bundle, such as `tile/entries/000`."""
    return f"tile/entries/{_number(index)}{_partial(width)}"


def _number(index: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def _partial(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"


def bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries in bundle form: each behind its length in two bytes."""
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def unbundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle; ValueError when it is cut short."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data) or at + 2 > len(data):
            raise ValueError("the bundle is cut short")
        entries.append(data[at + 2 : end])
        at = end
    return entries


class TileFolder:
    """The folder beside the log that holds `checkpoint`, `key.pub` and `tile/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write_tile(self, row: TileRow) -> None:
        """Write a hash tile; a full one removes its partial forms."""
        self._write(tile_path(row.level, row.index, len(row.hashes)), b"".join(row.hashes))
        if len(row.hashes) == TILE_WIDTH:
            self._drop_partial(tile_path(row.level, row.index))

    def write_bundle(self, index: int, entries: Sequence[bytes]) -> None:
        """Write an entry bundle; a full one removes its partial forms."""
        self._write(bundle_path(index, len(entries)), bundle(entries))
        if len(entries) == TILE_WIDTH:
            self._drop_partial(bundle_path(index))

    def has_tile(self, row: TileRow) -> bool:
        """True when this tile is stored with exactly these hashes."""
        return self._read(tile_path(row.level, row.index, len(row.hashes))) == b"".join(row.hashes)

    def has_bundle(self, index: int, entries: Sequence[bytes]) -> bool:
        """True when this bundle is stored with exactly these entries."""
        return self._read(bundle_path(index, len(entries))) == bundle(entries)

    def leaf_hashes(self, index: int, width: int) -> list[bytes] | None:
        """Return the first `width` hashes of a leaf tile, or None when it is missing or misshapen."""
        data = self._read(tile_path(0, index, width))
        if data is None:  # it may have filled up since
            data = self._read(tile_path(0, index))
        if data is None or len(data) % _HASH_BYTES or len(data) < width * _HASH_BYTES:
            return None
        return [data[i * _HASH_BYTES : (i + 1) * _HASH_BYTES] for i in range(width)]

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, data, durable=False)

    def _drop_partial(self, name: str) -> None:
        folder = self.root / f"{name}.p"
        if folder.is_dir():
            shutil.rmtree(folder)


def folder_of(log: Path) -> TileFolder:
    """Return the folder that belongs to the log at `log`."""
    return TileFolder(log.with_name(f"{log.name}.tlog"))


def replace_file(path: Path, data: bytes, *, durable: bool) -> None:
    """Put `data` at `path` in one step; a reader sees the old content or the new, never a mixture."""
    aside = path.with_name(f".{path.name}.new")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb", buffering=0) as file:  # noqa: PTH123  # a descriptor, not a path
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if durable:
                os.fsync(handle)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            aside.unlink(missing_ok=True)
        raise
