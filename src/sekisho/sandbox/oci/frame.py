"""The empty image of a plugin that brings none: folders and links, into which everything else is mounted.

Guarantees the same bytes for the same links, so that an engine which has it already is not given it again, and nothing in
it that belongs to anybody or was made at any time.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from typing import Final

from sekisho.sandbox.plans.spec import Link

__all__ = ["layer"]

_FOLDERS: Final = ("dev", "etc", "home", "home/plugin", "proc", "run", "sys", "tmp", "usr", "var")
_SCRATCH: Final = ("tmp", "home/plugin")


def layer(links: Iterable[Link]) -> bytes:
    """The same bytes for the same links, so that the image is found again."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in _FOLDERS:
            entry = tarfile.TarInfo(name)
            # runtimes give a tmpfs the mode of the folder below it
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name in _SCRATCH else 0o755
            tar.addfile(entry)
        for link in sorted(links, key=lambda one: one.path):
            entry = tarfile.TarInfo(link.path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, link.target
            tar.addfile(entry)
    return archive.getvalue()
