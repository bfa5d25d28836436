"""Holds children to their limits where no control group does: looks at their trees twenty times a second.

Guarantees that a tree which has more memory, more threads or a fuller private folder than it may is killed at the next
look, and that one which uses more than its share of a processor is stopped in turns (`throttle`). Looks at nobody while
there is nobody to look at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from sekisho.launcher.children import Child, is_guarded, kill_tree
from sekisho.launcher.kernel import resident, threads, tree
from sekisho.launcher.occupied import is_over

__all__ = ["Guard"]

PERIOD_S: Final = 0.05  # 20 Hz: a 400 MB hog passes 128 MB by less than a third
SCRATCH_ROUNDS: Final = 5  # periods between two looks at a private folder


class Guard:
    """Over the children of one launcher."""

    def __init__(self, children: Mapping[int, Child]) -> None:
        self._children = children
        self._next_at = 0.0
        self._rounds = 0

    @property
    def due_at(self) -> float | None:
        """When it looks again, if there is anybody to look at."""
        return self._next_at if any(map(is_guarded, self._children.values())) else None

    def attend(self, now: float) -> None:
        """Look, if it is time."""
        due_at = self.due_at
        if due_at is None or now < due_at:
            return
        self._next_at = now + PERIOD_S
        self._rounds += 1
        for child in self._children.values():
            if is_guarded(child):
                self._look_at(child)

    def _look_at(self, child: Child) -> None:
        if (
            child.scratch
            and not self._rounds % SCRATCH_ROUNDS
            and is_over(child.scratch, child.scratch_bytes)
        ):
            child.is_full = True
            kill_tree(child)
        members = list(tree(child.pid))
        if child.throttle is not None and child.started:
            child.throttle.turn(members, time.monotonic())
        if child.guard_pids and sum(map(threads, members)) > child.guard_pids:
            kill_tree(child)  # RLIMIT_NPROC says nothing to root, so we count as well
        elif child.guard_bytes and sum(map(resident, members)) > child.guard_bytes:
            child.exceeded = True
            kill_tree(child)
