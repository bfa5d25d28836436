"""What a plugin sees where a draft lies over a folder: the merged view, read without mounting it.

Guarantees that no link is followed and no folder left on the way (`beneath`).
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack

from sekisho.sandbox.drafts.beneath import entered
from sekisho.sandbox.drafts.overlay_marks import OPAQUE

__all__ = ["link_at"]


def link_at(upper: int, lower: int, place: tuple[str, ...]) -> str | None:
    """The target of the link that the plugin sees at a place; None for anything else."""
    with ExitStack() as stack:
        above: int | None = upper
        below: int | None = lower
        for part in place[:-1]:
            above, below = _down(stack, above, below, part)
        for layer in (above, below):
            if layer is None:
                continue
            try:
                found = os.stat(place[-1], dir_fd=layer, follow_symlinks=False)
            except FileNotFoundError:
                continue
            is_link = stat.S_ISLNK(found.st_mode)
            return os.readlink(place[-1], dir_fd=layer) if is_link else None
        return None


def _down(stack: ExitStack, above: int | None, below: int | None, part: str) -> tuple[int | None, int | None]:
    """One folder further down in both layers; what stands in the upper one hides what is below."""
    inner = None
    if above is not None:
        try:
            inner = stack.enter_context(entered(above, part))
        except FileNotFoundError:
            pass
        except OSError:
            return None, None  # something else than a folder
        else:
            if OPAQUE in os.listxattr(inner):
                return inner, None
    if below is None:
        return inner, None
    try:
        return inner, stack.enter_context(entered(below, part))
    except OSError:
        return inner, None
