"""How much a private folder holds, for a plugin whose scratch space is a folder of the host and has no size of its own.

Guarantees that no link is followed, that sparse files count what they take, and that a folder with too many entries, one
too deep, or one that we may not look into is over its limit: what cannot be counted is not given away. A look costs what
the folder holds; it is taken four times a second.

Does not count what has no name any more (a file that was removed while it is open).
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

__all__ = ["is_over"]

BLOCK_BYTES: Final = 512
MAX_ENTRIES: Final = 20_000  # more of them would cost us more than the plugin
MAX_DEPTH: Final = 64  # each level is an open descriptor of ours while we are below it
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Over(Exception):
    """It holds too much, or hides what it holds."""


class _Room:
    """What is left of the limits."""

    def __init__(self, taken_bytes: int, entries: int) -> None:
        self.taken_bytes = taken_bytes
        self.entries = entries


def is_over(folder: str, limit_bytes: int) -> bool:
    """Whether more is in it than it may hold."""
    try:
        _look(None, folder, _Room(limit_bytes, MAX_ENTRIES), MAX_DEPTH)
    except (_Over, PermissionError):
        return True
    return False


def _look(parent: int | None, name: str, left: _Room, levels: int) -> None:
    """By descriptors, because a path that is too long would have no size."""
    if levels == 0:
        raise _Over
    try:
        fd = os.open(name, FOLDER, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):  # it changed while we came
        return
    try:
        with os.scandir(fd) as found:
            for entry in found:
                left.entries -= 1
                with contextlib.suppress(FileNotFoundError):
                    left.taken_bytes -= entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
                if left.taken_bytes < 0 or left.entries < 0:
                    raise _Over
                if entry.is_dir(follow_symlinks=False):
                    _look(fd, entry.name, left, levels - 1)
    finally:
        os.close(fd)
