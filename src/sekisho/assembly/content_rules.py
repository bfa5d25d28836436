"""The compiled rules of the content scan, kept between starts: compiling them takes longer than all the rest.

What is read back is checked by `detect` against the rules, the engine and its own digest, and compiled anew when it does
not fit; it lies in the home folder, which is ours alone. Not being able to keep it costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from sekisho.assembly.memory import give_back
from sekisho.config import CoreConfig
from sekisho.detect import Inspection

__all__ = ["open_inspection"]

MAX_STORED_BYTES: Final = 16 << 20  # a file that is larger is not ours


def open_inspection(config: CoreConfig, path: Path) -> Inspection:
    """The content scan as the configuration wants it."""
    wish = config.inspection
    stored = _read(path)
    inspection = Inspection(
        arguments=wish.arguments, results=wish.results, disabled_rules=wish.disabled_rules, stored=stored
    )
    if inspection.scanner.stored != stored:
        _write(path, inspection.scanner.stored)
        give_back()  # compiling needs tens of megabytes for a moment
    return inspection


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_STORED_BYTES)
    except OSError:
        return b""


def _write(path: Path, stored: bytes) -> None:
    """Replace the file in one step; several workers may do so at once, with the same bytes."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(stored)
        fresh.replace(path)
    fresh.unlink(missing_ok=True)
