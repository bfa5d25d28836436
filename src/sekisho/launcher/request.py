"""The words of a launch, in the memory file in which they travel: one line for each who needs them.

Guarantees that nobody parses, or learns, what is meant for another: the child that raises the walls reads its own line,
the watcher its own.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

__all__ = ["FOR_CHILD", "FOR_WATCHER", "read_request"]

MAX_REQUEST_BYTES: Final = 16 << 20
FOR_CHILD: Final = 0
FOR_WATCHER: Final = 1


def read_request(fd: int, line: int = FOR_CHILD) -> dict[str, Any]:
    """One line of them."""
    size = min(os.fstat(fd).st_size, MAX_REQUEST_BYTES)
    request: dict[str, Any] = json.loads(os.pread(fd, size, 0).split(b"\n", 1)[line])
    return request
