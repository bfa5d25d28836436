"""What overlayfs notes beside the files of a draft: which name is deleted, which folder hides the one below.

Guarantees that a mark which the kernel did not set is told apart: no plugin can set one through the mount, and none is
believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final, Literal

from sekisho.sandbox.drafts.beneath import entered, open_file, opened

__all__ = ["OPAQUE", "is_whiteout", "marks_of", "strange_marks"]

_PREFIX: Final = "user.overlay."
_OURS_TO_SET: Final = frozenset(  # by the kernel; `opaque` is looked at
    _PREFIX + name for name in ("origin", "impure", "nlink", "uuid", "upper", "opaque")
)
OPAQUE: Final = _PREFIX + "opaque"


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this is how overlayfs says that a name is deleted."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def marks_of(upper: int, name: str, kind: Literal["file", "folder", "link"]) -> tuple[str, ...]:
    """The marks of overlayfs on one entry; an opaque mark of another kind than the plain one is told apart.

    The plugin cannot set one: through the mount the kernel refuses its names, or stores them under others.
    """
    if kind == "link":
        return ()
    with entered(upper, name) if kind == "folder" else opened(open_file(upper, name)) as fd:
        names = [one for one in os.listxattr(fd) if one.startswith(_PREFIX)]
        marks = [one for one in names if not one.startswith(_PREFIX + "overlay.")]
        if OPAQUE in marks and os.getxattr(fd, OPAQUE) != b"y":
            marks.append(OPAQUE + "=x")
        return tuple(marks)


def strange_marks(marks: Iterable[str]) -> list[str]:
    """Those that the kernel did not set."""
    return sorted(mark for mark in marks if mark not in _OURS_TO_SET)
