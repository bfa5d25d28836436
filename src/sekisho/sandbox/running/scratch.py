"""Private folders on the host: for a plugin that has no file system of its own, and for what an engine reads.

Guarantees that a folder is new, that no other user may look into it, and that it is removed whatever the plugin made
of it; one whose owner was killed is removed at the next start, because the lock on it went with its owner. Follows no
link on the way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["SCRATCH_FOLDERS", "make_folder", "make_scratch", "remove_scratch", "sweep_folders"]

PARTS: Final = ("home", "tmp")
SCRATCH_FOLDERS: Final = "sekisho-scratch-"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_scratch(name: str, below: Path | None = None) -> tuple[Path, int]:
    """A fresh folder with a home and a place for temporary files, and what holds it; only we may enter it."""
    folder, held = make_folder(f"{SCRATCH_FOLDERS}{name}-", below)
    for part in PARTS:
        (folder / part).mkdir(mode=0o700)
    return folder, held


def make_folder(prefix: str, below: Path | None = None) -> tuple[Path, int]:
    """A fresh folder, and a descriptor that holds it: while that is open, nobody sweeps it away."""
    while True:
        folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=prefix, dir=below)))
        with contextlib.suppress(FileNotFoundError):  # swept away before we held it
            held = os.open(folder, _FOLDER)
            fcntl.flock(held, fcntl.LOCK_EX)
            if folder.exists():
                return folder, held
            os.close(held)


def sweep_folders(prefix: str, below: Path | None = None) -> None:
    """Remove those of ours that nobody holds any more."""
    for folder in Path(below or tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            held = os.open(folder, _FOLDER)
            try:
                if os.fstat(held).st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_scratch(folder)
            finally:
                os.close(held)


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
