"""The four kinds of walls that our launcher raises: what they are is in `plan`, how they live in `launched`."""

from __future__ import annotations

from typing import Final

from sekisho.sandbox.launched.driver import Launched

__all__ = ["LAUNCHED", "Bubblewrap", "Landlock", "Native", "UnsafeNone"]


class Bubblewrap(Launched):
    """Walls by bwrap."""

    name = "bubblewrap"


class Native(Launched):
    """The same walls by our own system calls."""

    name = "native"


class Landlock(Launched):
    """Walls without namespaces, for plugins without network."""

    name = "landlock"


class UnsafeNone(Launched):
    """No walls: limits and a declared environment, and nothing else."""

    name = "unsafe-none"


LAUNCHED: Final[tuple[type[Launched], ...]] = (Bubblewrap, Native, Landlock, UnsafeNone)
