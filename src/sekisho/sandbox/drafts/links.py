"""Where a symbolic link leads, judged without following it: whether it may stand in a folder after the plugin is gone.

Guarantees that a link which is let through leads to no place outside its folder, neither now nor after another link
changes, as long as every other link in there was let through too. Judgement only: what stands where is asked of the
caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["why_astray"]

MAX_HOPS: Final = 40  # the kernel's own bound

Lookup = Callable[[tuple[str, ...]], str | None]


def why_astray(folder: str, place: tuple[str, ...], target: str, link_at: Lookup) -> str:
    """Why a link may not stay; nothing when it may.

    Args:
        folder: the absolute path of the folder it must not leave.
        place: the parts of the link's own path below that folder.
        target: what the link says.
        link_at: the target of the link that stands at a place below the folder, None where none does.
    """
    if not _is_plain(target):
        return "it goes up after it went down, which means another place as soon as a folder on its way is a link"
    try:
        _Walk(folder, link_at).resolve(place[:-1], target)
    except _Astray as astray:
        return str(astray)
    return ""


class _Astray(Exception):
    """Where it leaves the folder, in words."""


def _is_plain(target: str) -> bool:
    """Nothing but `..` at the front: elsewhere it depends on what a name before it is by then."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = (
        0 if target.startswith("/") else next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    )
    return ".." not in parts[ups:]


class _Walk:
    """One lookup; it follows as many links as the kernel would, all together, however they lie in each other."""

    def __init__(self, folder: str, link_at: Lookup) -> None:
        self._folder = folder
        self._link_at = link_at
        self._left = MAX_HOPS

    def resolve(self, start: tuple[str, ...], target: str) -> tuple[str, ...]:
        """The place below the folder that a target names."""
        here = start
        if target.startswith("/"):
            inner = _below(self._folder, target)
            if inner is None:
                raise self._out()
            here, target = (), inner
        for part in target.split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                if not here:
                    raise self._out()
                here = here[:-1]
                continue
            here = (*here, part)
            further = self._link_at(here)
            if further is not None:
                self._left -= 1
                if self._left == 0:
                    raise _Astray("it leads through a circle of links, or too many of them")
                here = self.resolve(here[:-1], further)
        return here

    def _out(self) -> _Astray:
        return _Astray(f"it leads out of {self._folder}")


def _below(folder: str, target: str) -> str | None:
    """The rest of an absolute target below the folder."""
    base = [part for part in folder.split("/") if part]
    parts = [part for part in target.split("/") if part not in ("", ".")]
    return "/".join(parts[len(base) :]) if parts[: len(base)] == base else None
