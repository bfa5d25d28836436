"""Whether an answer could be a question: looked at for every answer of a modern plugin, and so found in one search.

Guarantees that no `input_required` is overlooked which MCP could write; what says yes is read in full (`asking`).
Judgement: bytes in, a word out.
"""

from __future__ import annotations

from typing import Final

__all__ = ["asks_within", "is_input_required"]

_MARK: Final = b'"input_required"'
_LONG_BYTES: Final = 16 << 10
_FEW_QUOTES: Final = 256


def is_input_required(result: bytes) -> bool:
    """Could this result be a question? The usual case costs one search; a spelling with escapes is no MCP.

    A large result is nearly always a few long strings: leaping from quote to quote finds the word many times faster.
    """
    if len(result) > _LONG_BYTES:
        return asks_within(result, 0, len(result))
    return result.find(_MARK) >= 0


def asks_within(place: bytes | bytearray, start: int, end: int) -> bool:
    """The same for a large result that lies somewhere."""
    at = start
    for _ in range(_FEW_QUOTES):
        quote = place.find(b'"', at, end)
        if quote < 0 or place.startswith(_MARK, quote, end):
            return quote >= 0
        at = quote + 1
    return place.find(_MARK, at, end) >= 0
