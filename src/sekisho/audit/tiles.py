"""Static files from which anyone can check the log: C2SP tlog-tiles, hash tiles and entry bundles.

They say nothing that log and checkpoint do not say, so they are made when somebody wants them (`export_tiles`)
and not while the log is written: two small files for every 256 records cost more than everything else.
Guarantees: the checkpoint is put into the folder last, and only when everything there adds up to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sekisho.audit.folder import folder_of
from sekisho.audit.lines import read_records, unreadable
from sekisho.audit.note import Checkpoint, open_checkpoint
from sekisho.audit.tree import TILE_WIDTH, Frontier, TileRow, leaf_hash
from sekisho.errors import Refused, Tampered

__all__ = ["MAX_ENTRY_BYTES", "bundle", "bundle_path", "export_tiles", "tile_path", "unbundle"]

MAX_ENTRY_BYTES: Final = 65_535  # tlog-tiles: the length prefix of an entry has two bytes


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


def export_tiles(log: Path, key: Ed25519PublicKey, folder: Path) -> Checkpoint:
    """Write everything under the current checkpoint of `log` into `folder`, which must be new or empty.

    Raises:
        Refused: The folder has something in it.
        Tampered: The log does not add up to its checkpoint; the folder is left without one.
        Unavailable: The log cannot be read, or the folder cannot be written.
    """
    try:
        note = folder_of(log).checkpoint.read_bytes()
        checkpoint = open_checkpoint(note, key)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise Refused("params_invalid", f"{folder} is not empty", remedy="name a new folder")
        frontier = Frontier(keep_tiles=True)
        with log.open("rb") as file:
            records = (record for record, whole in read_records(file) if whole)
            while run := list(islice(records, min(TILE_WIDTH, checkpoint.size - frontier.size))):
                _write(folder, bundle_path(frontier.size // TILE_WIDTH, len(run)), bundle(run))
                frontier.extend([leaf_hash(record) for record in run])
                _write_tiles(folder, frontier.take_tiles())
        if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
            raise Tampered("log_tampered", "the records are not the ones that were signed")
        _write_tiles(folder, frontier.partial_tiles())
        (folder / "checkpoint").write_bytes(note)
    except OSError as problem:
        raise unreadable(log, problem) from problem
    return checkpoint


def _write_tiles(folder: Path, rows: list[TileRow]) -> None:
    for row in rows:
        _write(folder, tile_path(row.level, row.index, row.width), row.hashes)


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
