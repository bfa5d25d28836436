"""The folder beside the log, and what is in it: `checkpoint`, `key.pub`, `leaves`, and while it is written `redo`.

Guarantees: a file that is replaced appears whole or not at all (written aside, then renamed). `leaves` is the
list of all leaf hashes, 32 bytes each: one cheap write per checkpoint. It repeats what the log says, is never
synced and never trusted: the journal mends it when it opens, and readers check it against the signed root.
Decides nothing about when.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sekisho.audit.ledger import Leaves
from sekisho.audit.tree import HASH_BYTES

__all__ = ["LogFolder", "folder_of", "replace_file"]


class LogFolder:
    """The folder that belongs to one log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoint = root / "checkpoint"
        self.key = root / "key.pub"
        self.leaves = root / "leaves"
        self.redo = root / "redo"

    def store(self, leaves: Leaves) -> None:
        """Write leaf hashes to their place."""
        handle = os.open(self.leaves, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            data, at = leaves.hashes, leaves.first * HASH_BYTES
            while data:
                written = os.pwrite(handle, data, at)
                data, at = data[written:], at + written
        finally:
            os.close(handle)

    def told_leaves(self, first: int, count: int) -> list[bytes]:
        """Return at most `count` stored leaf hashes from `first` on; fewer when there are no more."""
        try:
            with self.leaves.open("rb") as file:
                file.seek(first * HASH_BYTES)
                data = file.read(count * HASH_BYTES)
        except FileNotFoundError:
            return []
        return [data[at : at + HASH_BYTES] for at in range(0, len(data) - HASH_BYTES + 1, HASH_BYTES)]


def folder_of(log: Path) -> LogFolder:
    """Return the folder that belongs to the log at `log`."""
    return LogFolder(log.with_name(f"{log.name}.tlog"))


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
