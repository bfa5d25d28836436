"""A control group (version 2) that systemd delegated to us, made fit to have groups of plugins below it.

The kernel gives controllers only to children of a group that holds no process itself, and systemd starts a service in
the very group that it delegates to it (`Delegate=yes`; from systemd 254 on `DelegateSubgroup=` avoids that). So whatever
runs there moves into a leaf below. Guarantees that nothing is moved in a group that was not delegated: such a group is
systemd's own.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

__all__ = ["LEAF", "is_delegated", "make_room"]

LEAF: Final = "house"
_MARKS: Final = ("user.delegate", "trusted.delegate")  # since systemd 251, and before, for root alone
_ROUNDS: Final = 100  # who forks while we move leaves a child behind; who never stops is left where it is


def is_delegated(folder: Path) -> bool:
    """Whether systemd says that this group, and all below it, is its owner's."""
    for mark in _MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    return False


def make_room(folder: Path) -> None:
    """Move every process of a group into a leaf below it; in vain where that is not allowed."""
    leaf = folder / LEAF
    with contextlib.suppress(OSError):
        for _ in range(_ROUNDS):
            members = (folder / "cgroup.procs").read_text().split()
            if not members:
                return
            leaf.mkdir(exist_ok=True)
            for pid in members:
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    (leaf / "cgroup.procs").write_text(pid)
