"""Names of calls: unique over all processes and restarts, not secret.

A random part is drawn once, a number counts the calls: drawing randomness for every call would cost more than the rest
of judging it. Who must not guess anything from an id is protected by the key of the log (`records.salt_for`).
"""

from __future__ import annotations

import secrets
from itertools import count

__all__ = ["CallIds"]


class CallIds:
    """Gives the next id of this process: 16 random hexadecimal digits, then 8 or more that count."""

    __slots__ = ("_numbers", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = count(1)

    def __call__(self) -> str:
        """A new id."""
        return f"{self._prefix}{next(self._numbers):08x}"
