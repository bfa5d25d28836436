"""Names of calls: unique over all processes and restarts, not secret.

A random part is drawn once, a number counts the calls: drawing randomness for every call would cost more than the rest
of judging it. Who must not guess anything from an id is protected by the key of the log (`records.salt_for`).
"""

from __future__ import annotations

import secrets
from typing import Final

__all__ = ["CallIds"]

_TWO: Final = tuple(f"{number:02x}" for number in range(256))


class CallIds:
    """Gives the next id of this process: 16 random hexadecimal digits, then 8 or more that count."""

    __slots__ = ("_beginning", "_number", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._beginning = ""
        self._number = 0

    def __call__(self) -> str:
        """A new id."""
        self._number = number = self._number + 1
        if not self._beginning or number & 0xFF == 0:  # 256 ids share all but their last two digits
            self._beginning = f"{self._prefix}{number >> 8:06x}"
        return self._beginning + _TWO[number & 0xFF]
