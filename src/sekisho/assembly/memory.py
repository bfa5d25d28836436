"""The memory of this process: how much it has, and giving back what it does not need.

A burst of large results leaves glibc with memory that it keeps for later; a gateway that runs for months should not be as
large for ever as it was for a second. Where the calls do not exist, nothing happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["give_back", "keep_between_calls", "resident_bytes", "settle", "settle_for_forks"]

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_M_TRIM_THRESHOLD: Final = -1  # of glibc's malloc.h
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 16 << 20
_LARGEST_KEPT_BYTES: Final = 4 << 20
_CLASS_BYTES: Final = 16  # what Python's allocator rounds sizes up to,
_LARGEST_BYTES: Final = 512  # the largest size it serves,
_POOL_BYTES: Final = 16 << 10  # and how much memory it gives to one size at a time
_MOST_FILLED_BYTES: Final = 256 << 10  # of one size; where another allocator works no pool ever shows
_ANY_NUMBER: Final = 1 << 20  # too large to be one of those that exist once
_EMPTY_BYTES: Final = sys.getsizeof(b"")
_FILLED: Final[list[list[object]]] = []  # never freed: that would write to all of it
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


def settle_for_forks() -> None:
    """Make what was imported something that forked children rarely write to.

    A page belongs to a child as soon as it writes to it. So the collector looks at nothing of it any more; the table of
    methods that were looked up holds no names, whose counts would change when others take their places; and no gap is
    left between old objects for new ones to lie in.
    """
    gc.collect()
    sys._clear_type_cache()
    _FILLED.extend(_fill(size) for size in range(_CLASS_BYTES, _LARGEST_BYTES + 1, _CLASS_BYTES))
    gc.freeze()


def _fill(size: int) -> list[object]:
    """Objects of this size until one pool holds nothing else: all before it are full then."""
    make, filled, pool, run = _maker(size), list[object](), 0, 0
    enough = _POOL_BYTES // size - 8  # a pool has a head, and our own numbers may lie between
    while run < enough and len(filled) * size < _MOST_FILLED_BYTES:
        filled.append(make())
        found = id(filled[-1]) // _POOL_BYTES
        run, pool = (run + 1 if found == pool else 1), found
    return filled


def _maker(size: int) -> Callable[[], object]:
    """What makes an object of this size that nothing collects and nothing keeps for later."""
    if size == _CLASS_BYTES:
        return object
    if size < _EMPTY_BYTES:
        return lambda: ~_ANY_NUMBER
    return lambda: bytes(size - _EMPTY_BYTES)
