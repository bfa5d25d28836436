"""How much a private folder holds, for a plugin whose scratch space is a folder of the host and has no size of its own.

Guarantees that no link is followed, that sparse files count what they take, and that a folder with too many entries is
over its limit, however small they are. A look costs what the folder holds; it is taken four times a second.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

__all__ = ["is_over"]

BLOCK_BYTES: Final = 512
MAX_ENTRIES: Final = 20_000  # more of them would cost us more than the plugin


def is_over(folder: str, limit_bytes: int) -> bool:
    """Whether more is in it than it may hold."""
    waiting, taken, entries = [folder], 0, 0
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as found:
            for entry in found:
                entries += 1
                with contextlib.suppress(OSError):
                    taken += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                if taken > limit_bytes or entries > MAX_ENTRIES:
                    return True
    return False
