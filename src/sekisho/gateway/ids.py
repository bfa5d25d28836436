"""Names of calls: unique over all processes and restarts, and silent about other calls.

96 random bits each, drawn for many calls at once: asking the kernel for every call would cost more than the rest of
judging it. A client that compares its own ids learns nothing of how many calls others make. Who must not guess what a
call held is protected by the key of the log (`records.salt_for`), not by an id.
"""

from __future__ import annotations

import secrets
from typing import Final

__all__ = ["CallIds"]

BYTES: Final = 12
DRAWN: Final = 64  # ids for one question to the kernel


class CallIds:
    """Gives the next id of this process: 24 random hexadecimal digits."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        """A new id."""
        if not self._ready:
            self._ready = secrets.token_bytes(DRAWN * BYTES).hex(" ", BYTES).split()
        return self._ready.pop()
