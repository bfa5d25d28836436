"""A private folder for a plugin that has no file system of its own, and its end.

Guarantees that the folder is new, that no other user may look into it, and that it is removed whatever the plugin made
of it. Follows no link on the way.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["make_scratch", "remove_scratch"]

PARTS = ("home", "tmp")


def make_scratch(name: str, below: Path | None = None) -> Path:
    """A fresh folder with a home and a place for temporary files; only we may enter it."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=f"sekisho-{name}-", dir=below)))
    for part in PARTS:
        (folder / part).mkdir(mode=0o700)
    return folder


def remove_scratch(folder: Path) -> bool:
    """Remove it with everything in it; False when something is left."""

    def unlock(remove: Callable[[str], object], path: str, _error: object) -> None:
        parent = Path(path).parent
        if parent.is_relative_to(folder) and not Path(path).is_symlink():
            parent.chmod(0o700)
            if Path(path).is_dir():
                Path(path).chmod(0o700)
            remove(path)

    try:
        shutil.rmtree(folder, onerror=unlock)
    except OSError:
        return not folder.exists()
    return not folder.exists()
