"""Draws texts that match a pattern, every branch of it in turn.

Hypothesis draws matches too, but needs minutes for a hundred patterns with long bounded repeats. This keeps repeats
near their least count, where a key is missing first if it can be missing at all.
"""

from __future__ import annotations

import re
from random import Random
from re import _constants, _parser  # type: ignore[attr-defined]  # the pattern as a tree; nothing else gives it
from typing import Any

__all__ = ["draw_match", "widest"]


def widest(pattern: bytes) -> int:
    """The length of the longest text that matches as a whole."""
    width: int = _tree(pattern).getwidth()[1]
    return width


def draw_match(pattern: bytes, random: Random) -> bytes:
    """One text that matches as a whole, but for word boundaries, which are not looked at."""
    return _draw(_tree(pattern), random).encode("latin-1")


def _tree(pattern: bytes) -> Any:
    return _parser.parse(pattern.decode("ascii"), re.DOTALL)


def _draw(tree: Any, random: Random) -> str:
    return "".join(_piece(kind, value, random) for kind, value in tree)


def _piece(kind: Any, value: Any, random: Random) -> str:
    match kind:
        case _constants.LITERAL:
            return chr(value)
        case _constants.NOT_LITERAL:
            return random.choice([one for one in "a1 ." if ord(one) != value])
        case _constants.IN:
            return _member(value, random)
        case _constants.BRANCH:
            return _draw(random.choice(value[1]), random)
        case _constants.SUBPATTERN:
            return _draw(value[3], random)
        case _constants.MAX_REPEAT | _constants.MIN_REPEAT:
            least, most, inner = value
            count = min(most, least + random.choice((0, 0, 0, 1, 2)))
            return "".join(_draw(inner, random) for _ in range(count))
        case _constants.AT:
            return ""
        case _:
            raise AssertionError(f"a pattern uses {kind}")


def _member(choices: Any, random: Random) -> str:
    allowed = set()
    for kind, value in choices:
        match kind:
            case _constants.LITERAL:
                allowed.add(value)
            case _constants.RANGE:
                allowed.update(range(value[0], value[1] + 1))
            case _constants.NEGATE:
                pass
            case _:
                raise AssertionError(f"a class uses {kind}")
    if choices[0][0] is _constants.NEGATE:
        allowed = set(range(0x20, 0x7F)) - allowed
    return chr(random.choice(sorted(allowed)))
