"""Holds children to their limits where no control group does: looks at their trees twenty times a second.

Guarantees that a tree which has more memory, more threads or a fuller private folder than it may is killed at the next
look, that one which has as many threads as it may is told of, for the kernel refuses it more and tells nobody, and that
one which uses more than its share of a processor is stopped in turns (`throttle`). Looks at nobody while there is nobody
to look at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from sekisho.launcher.children import Child, is_guarded, kill_tree
from sekisho.launcher.kernel import resident, threads, tree
from sekisho.launcher.occupied import is_over

__all__ = ["Guard"]

PERIOD_S: Final = 0.05  # 20 Hz: a 400 MB hog passes 128 MB by less than a third
SCRATCH_ROUNDS: Final = 5  # periods between two looks at a private folder


class Guard:
    """Over the children of one launcher; `tell_crowded` hears of each that has come to its limit of processes."""

    def __init__(self, children: Mapping[int, Child], tell_crowded: Callable[[Child], None]) -> None:
        self._children = children
        self._tell_crowded = tell_crowded
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
        if child.guard_pids and self._is_beyond(child, sum(map(threads, members))):
            kill_tree(child)  # RLIMIT_NPROC says nothing to root, so we count as well
        elif child.guard_bytes and sum(map(resident, members)) > child.guard_bytes:
            child.exceeded = True
            kill_tree(child)

    def _is_beyond(self, child: Child, count: int) -> bool:
        """Whether it has more threads than it may; that it has as many is told once, until it has fewer again."""
        was_crowded, child.is_crowded = child.is_crowded, count >= child.guard_pids
        if child.is_crowded and not was_crowded:
            self._tell_crowded(child)
        return count > child.guard_pids
