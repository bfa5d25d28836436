"""One `sekisho up` in a home at a time.

Guarantees that a second one is told so before it has touched anything: it would put its own sockets in the place of those
that the first one's plugins are reached by. The kernel gives the home back when the process ends, however that happens.
Knows nothing of `sekisho core`, `plugin` and `egress` started one by one, which whoever starts them keeps apart.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sekisho.errors import Misconfigured

__all__ = ["Claim"]


class Claim:
    """A home taken, until `close` or the end of the process.

    Raises:
        Misconfigured: Another process has it, or no file can be written there.
    """

    def __init__(self, home: Path) -> None:
        path = home / "up.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Misconfigured(
                "config_invalid",
                f"{path} cannot be written: {error.strerror}",
                remedy="make the home writable for the user who starts sekisho, or choose another",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise Misconfigured(
                "config_invalid",
                f"another sekisho up runs with the home {home}",
                remedy="send that one SIGHUP to read a changed file; a second gateway needs a home of its own",
            ) from error

    def close(self) -> None:
        """Give the home back."""
        os.close(self._descriptor)
