"""A fork that leaves out what modules registered to be done around forks (`os.register_at_fork`).

`threading`, `logging`, `random` and `concurrent.futures` put themselves right after each fork, in the child and in the
parent. That copies half a MiB of pages into each child, also into a launcher and its watcher, which use none of them.

Guarantees
- without `take_over` nothing differs from `os.fork`;
- after it every fork still runs what was registered, but for those that are asked for as bare, and the forks of a process
  that was itself forked so;
- what the interpreter and the C library do around a fork they always do.

For processes with one thread that use none of the modules that register.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

__all__ = ["AT_FORK", "AtFork"]

Hook = Callable[[], object]


class AtFork:
    """Whether what was registered is done."""

    def __init__(self) -> None:
        self._is_bare = False
        self._register = os.register_at_fork

    def take_over(self) -> None:
        """Stand between `os.register_at_fork` and whoever calls it from now on."""
        os.register_at_fork = self.register  # type: ignore[assignment]  # the same keywords

    def register(self, **hooks: Hook) -> None:
        """`os.register_at_fork`, for forks that are not bare."""
        self._register(**{moment: partial(self._run, hook) for moment, hook in hooks.items()})

    def fork_bare(self) -> int:
        """`os.fork` without any of it; what is forked forks the same way."""
        self._is_bare = True
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:
                self._is_bare = False
        return pid

    def _run(self, hook: Hook) -> None:
        if not self._is_bare:
            hook()


AT_FORK = AtFork()
