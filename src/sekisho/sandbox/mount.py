"""One thing of a plan that is visible inside, the word that every driver renders in its own way; and where paths lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

__all__ = ["Mount", "MountKind", "is_below", "normal"]

MountKind = Literal["read", "write", "cover", "link", "tmpfs", "file", "proc", "dev"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One thing that is visible inside, and where it comes from."""

    kind: MountKind
    path: str
    source: str = ""
    size: int = 0
    mode: str = ""


def normal(path: str) -> str:
    """A path as the kernel resolves it; POSIX lets two slashes at the start mean something else."""
    text = str(PurePosixPath(path))
    return text[1:] if text.startswith("//") else text


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders, or in one."""
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
