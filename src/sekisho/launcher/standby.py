"""The child and the watcher that wait for the next launch: forked while nobody runs, used once.

Guarantees that a launch is handed to one that is there, whether it waited or had to be forked for it, and that one which
went meanwhile is let go. Whether anything runs, `serving` knows; what the two do, `reserve` and `watcher` say.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from sekisho.launcher.reserve import Expected, Reserve
from sekisho.launcher.watcher import Watcher

__all__ = ["Standby"]


class Standby:
    """At most one of each.

    Args:
        control: the launcher's socket to its owner, which a child needs.
        dismiss: what to do with a watcher that is gone.
    """

    def __init__(self, control: socket.socket, dismiss: Callable[[Watcher], None]) -> None:
        self._control = control
        self._dismiss = dismiss
        self._expected: Expected | None = None
        self._reserve: Reserve | None = None
        self._watcher: Watcher | None = None

    def expect(self, expected: Expected) -> None:
        """What will be asked for; before it is known nobody is forked ahead."""
        self._expected = expected

    def fork(self) -> None:
        """Have both ready."""
        if self._expected is None:
            return
        if self._reserve is None:
            self._reserve = Reserve.fork(self._control, self._expected)
        if self._watcher is None:
            self._watcher = Watcher.fork()

    def child(self, launch_id: int, fds: list[int]) -> Reserve:
        """A child that has its launch: the one that waited for it, or a new one."""
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            if reserve.tell(launch_id, fds):
                return reserve
            reserve.drop()
        reserve = Reserve.fork(self._control)
        reserve.tell(launch_id, fds)
        return reserve

    def watcher(self, request: int, gate: socket.socket) -> Watcher:
        """A watcher that has its launch, likewise."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            if watcher.tell(request, gate):
                return watcher
            self._dismiss(watcher)
        watcher = Watcher.fork()
        watcher.tell(request, gate)
        return watcher
