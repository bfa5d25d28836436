"""Whose turn it is to write, among several processes: a lock that the kernel takes from the dead.

Guarantees: one holder at a time; a holder that is killed, at whatever instant, has given it up; nobody waits
without bound for a holder that was stopped. Knows nothing of what is protected.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import Final

from sekisho.errors import Unavailable

__all__ = ["PATIENCE_S", "RETRY_S", "Turn", "stuck"]

PATIENCE_S: Final = 5.0  # a holder needs 10 µs, and a disk that stalls some seconds
RETRY_S: Final = 0.0005
_SPINS: Final = 16  # the holder is nearly always through before these are


class Turn:
    """The lock on one open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def take(self) -> None:
        """Take the turn.

        Raises:
            BlockingIOError: Another process has it; come again after RETRY_S, but not longer than PATIENCE_S.
        """
        for _ in range(_SPINS):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.sched_yield()
            else:
                return
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Take the turn, and block until it can be had.

        Raises:
            Unavailable: It could not be had within PATIENCE_S.
        """
        nobody = threading.Event()  # a wait with a bound, for a lock that has none
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.take()
            except BlockingIOError as problem:
                if time.monotonic() > deadline:
                    raise stuck() from problem
                nobody.wait(RETRY_S)
            else:
                return

    def give(self) -> None:
        """Give the turn back."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def stuck() -> Unavailable:
    """Return the error of who has waited PATIENCE_S."""
    return Unavailable("log_unavailable", "another worker holds the log and does not move")
