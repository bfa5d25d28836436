"""One tree of the store with what is known of it: receipt, lock and list of files, each proved by the one before.

Guarantees that whoever has the digest of a tree gets the receipt that this digest names, the lock and the list that the
receipt names, or an error. Whether the files are as the list says is asked by `tree`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from sekisho.errors import Misconfigured, Tampered
from sekisho.install.durable import read_file
from sekisho.install.manifest import Digests, Entry, digests_of, read_manifest

__all__ = ["Kept", "Receipt", "broken", "entries_of", "open_kept"]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one tree besides its files.

    `entry` names the program of the package that `command` runs. In `command`, `{tree}` stands for where the tree is,
    and `{python}` and `{node}` for the interpreter; `runtime` says which one it was made for.
    """

    package: str
    entry: str
    command: tuple[str, ...]
    lock_name: str
    lock_sha256: str
    tree_sha256: str
    tree_blake2b: str
    files: int
    bytes: int
    packages: int
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One tree of the store."""

    digest: str
    folder: Path
    receipt: Receipt

    @property
    def tree(self) -> Path:
        """The files."""
        return self.folder / "tree"

    @property
    def lock(self) -> bytes:
        """What exactly was installed, as the ecosystem writes it."""
        return (self.folder / self.receipt.lock_name).read_bytes()


def open_kept(trees: Path, digest: str) -> Kept:
    """The tree of this name among others, its receipt proved by it.

    Raises:
        Misconfigured: it is not here.
        Tampered: its receipt is not as it was written.
    """
    folder = trees / digest
    try:
        content = read_file(folder / "receipt.json")
    except FileNotFoundError as error:
        raise Misconfigured("package_missing", "the installed package is gone") from error
    if digests_of(content).sha256 != digest:
        raise broken("the receipt of a package is not as it was written")
    try:
        receipt = msgspec.json.decode(content, type=Receipt)
    except msgspec.MsgspecError as error:
        raise broken("the receipt of a package cannot be read") from error
    kept = Kept(digest=digest, folder=folder, receipt=receipt)
    try:
        lock = read_file(folder / receipt.lock_name)
    except FileNotFoundError as error:
        raise broken("the lock of a package is gone") from error
    if digests_of(lock).sha256 != receipt.lock_sha256:
        raise broken("the lock of a package is not as it was written")
    return kept


def entries_of(kept: Kept) -> tuple[Entry, ...]:
    """The list of its files, proved by the receipt.

    Raises:
        Tampered: it is not as it was written.
    """
    try:
        manifest = read_file(kept.folder / "manifest")
    except FileNotFoundError as error:
        raise broken("the list of a package's files is gone") from error
    if digests_of(manifest) != Digests(sha256=kept.receipt.tree_sha256, blake2b=kept.receipt.tree_blake2b):
        raise broken("the list of a package's files is not as it was written")
    return read_manifest(manifest)


def broken(what: str) -> Tampered:
    """Something of a package is not as it was written."""
    return Tampered("package_tampered", what)
