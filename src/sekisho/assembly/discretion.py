"""A process that holds secrets keeps its memory to itself.

Guarantees that it leaves no core dump, and that no other process of the same user may read its memory, its environment or
its open files, nor trace it (root still may). Called once, before the first secret is read.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["hide_memory"]

PR_SET_DUMPABLE: Final = 4  # prctl(2)


def hide_memory() -> None:
    """Hide this process's memory from every other process of its user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Misconfigured("internal", f"prctl failed: {os.strerror(ctypes.get_errno())}")
