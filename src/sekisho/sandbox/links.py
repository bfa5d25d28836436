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
        _resolve(folder, place[:-1], target, link_at, MAX_HOPS)
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


def _resolve(folder: str, start: tuple[str, ...], target: str, link_at: Lookup, hops: int) -> tuple[str, ...]:
    """The place below the folder that a target names."""
    if hops == 0:
        raise _Astray("it is one of a circle of links")
    here = start
    if target.startswith("/"):
        inner = _below(folder, target)
        if inner is None:
            raise _Astray(f"it leads out of {folder}")
        here, target = (), inner
    for part in target.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                raise _Astray(f"it leads out of {folder}")
            here = here[:-1]
            continue
        here = (*here, part)
        further = link_at(here)
        if further is not None:
            here = _resolve(folder, here[:-1], further, link_at, hops - 1)
    return here


def _below(folder: str, target: str) -> str | None:
    """The rest of an absolute target below the folder."""
    base = [part for part in folder.split("/") if part]
    parts = [part for part in target.split("/") if part not in ("", ".")]
    return "/".join(parts[len(base) :]) if parts[: len(base)] == base else None
