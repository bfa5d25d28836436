"""What the oracles share: exact equality of JSON values over all readers, and cutting bytes into pieces."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import msgspec
import orjson

__all__ = ["exactly", "hold", "pieces", "read_by_all"]

_SMALL = 1 << 63  # orjson turns larger integers into floats, which is its own reader's loss


def hold(condition: bool, promise: str) -> None:
    """Fail when a property is broken; unlike `assert` it also holds under `python -O`."""
    if not condition:
        raise AssertionError(promise)


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """The same bytes in other pieces, chosen by the seed: single bytes, few large ones, or a mixture."""
    chance = random.Random(seed)
    longest = chance.choice((1, 2, 7, 64, 4096))
    at = 0
    while at < len(data):
        step = chance.randint(1, longest)
        yield data[at : at + step]
        at += step


def exactly(value: object) -> object:
    """A form in which 1, 1.0 and true differ, and 0.0 and -0.0 too."""
    match value:
        case dict():
            return ("object", [(key, exactly(one)) for key, one in value.items()])
        case list():
            return ("array", [exactly(one) for one in value])
        case _:
            return (type(value).__name__, repr(value))


def read_by_all(text: bytes) -> object:
    """The one value every strict reader finds in this text; fails when two of them differ."""
    ours = exactly(msgspec.json.decode(text))
    hold(
        exactly(json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)) == ours, "stdlib json"
    )
    if not _has_big_integer(json.loads(text)):
        hold(exactly(orjson.loads(text)) == ours, "orjson reads another value")
    return ours


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    hold(len(found) == len(pairs), "a key stands twice in what is sent")
    return found


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is sent")


def _has_big_integer(value: object) -> bool:
    match value:
        case dict():
            return any(map(_has_big_integer, value.values()))
        case list():
            return any(map(_has_big_integer, value))
        case int():
            return not -_SMALL <= value < _SMALL
        case _:
            return False
