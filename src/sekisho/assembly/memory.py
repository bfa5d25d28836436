"""The memory of this process: how much it has, and giving back what it does not need.

A burst of large results leaves glibc with memory that it keeps for later; a gateway that runs for months should not be as
large for ever as it was for a second. Where the calls do not exist, nothing happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path
from typing import Final

__all__ = ["give_back", "keep_between_calls", "resident_bytes", "settle"]

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_M_TRIM_THRESHOLD: Final = -1  # of glibc's malloc.h
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 16 << 20
_LARGEST_KEPT_BYTES: Final = 4 << 20
_STATUS: Final = Path("/proc/self/statm")


def resident_bytes() -> int:
    """How much of this process is in memory; 0 when that cannot be known."""
    try:
        return int(_STATUS.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Hand free memory back to the system; takes milliseconds."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_between_calls() -> None:
    """Keep what large messages need from one to the next: fetching it anew costs a fifth of all that is done with one.

    What is kept so is bounded, and what is beyond any usual message goes back as soon as it is free.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)


def settle() -> None:
    """Take what start-up made out of the garbage collector's sight: looking through it would delay calls for nothing."""
    gc.collect()
    gc.freeze()
