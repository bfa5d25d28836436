"""One thing of a plan that is visible inside: the word that every driver renders in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Mount", "MountKind"]

MountKind = Literal["read", "write", "cover", "link", "tmpfs", "file", "proc", "dev"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One thing that is visible inside, and where it comes from."""

    kind: MountKind
    path: str
    source: str = ""
    size: int = 0
    mode: str = ""
