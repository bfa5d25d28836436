"""How many bytes of unfinished answers are held for one MCP server at a URL, on all connections to it together.

Guarantees that they are never more than the limit, unless it is a single answer, which has a limit of its own. A server
may have thousands of answers under way and end none; their number alone would leave it gigabytes of our memory.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import Unavailable

__all__ = ["MAX_UNFINISHED_BYTES", "Unfinished"]

MAX_UNFINISHED_BYTES: Final = 256 << 20  # sixteen of the largest messages at a time


class Unfinished:
    """The sum."""

    def __init__(self, most: int = MAX_UNFINISHED_BYTES) -> None:
        self._most = most
        self.size = 0

    def change(self, before: int, after: int) -> None:
        """So much of one answer is held now, instead of so much before.

        Raises:
            Unavailable: `busy`; with those of others it would be too much, and nothing is changed.
        """
        others = self.size - before
        if after > before and others and others + after > self._most:
            raise Unavailable(
                "busy", "the MCP server has too much of other answers under way that it does not end"
            )
        self.size = others + after
