"""A large JSON text with a few long strings in it, read without looking at each of their bytes twice.

Guarantees nothing of the text: for one that is not JSON, or holds strings that look like our marks, the value may be any.
Whoever asks proves the value by writing it, which must give this very text (`json_text`). A string is taken as it stands
when no backslash is near its beginning; one that comes later, or a byte that may not stand in a string, shows in that
proof, which writes it as an escape.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

__all__ = ["read_around"]

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

LONG_BYTES: Final = 4 << 10  # a shorter string is read in less time than it takes to find its end
LOOK_BYTES: Final = 64 << 10  # a text that holds backslashes has one soon; the proof finds the rest
MAX_QUOTES: Final = 256
MAX_REST_BYTES: Final = 8 << 10  # what is left beside long strings; its members are walked through one by one
_QUOTE: Final = b'"'
_BACKSLASH: Final = b"\\"
_ESCAPE: Final = 0x5C
_MARK: Final = "\0"
_WRITTEN_MARK: Final = b"\\u0000"

_decode: Final = msgspec.json.Decoder().decode


def read_around(data: bytes | bytearray) -> tuple[JsonValue, bytes] | None:
    """The value that the text probably has, and the text without long strings; None where no string is worth it."""
    try:
        rest, strings = _taken_out(data)
        if not strings or len(rest) > MAX_REST_BYTES:
            return None
        return _put_back(_decode(rest), strings), rest
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None  # whoever reads it as it is will say what is wrong with it


def _taken_out(data: bytes | bytearray) -> tuple[bytes, list[str]]:
    """The text with a mark in the place of each long string, and those strings."""
    view = memoryview(data)
    kept: list[bytes | bytearray] = []
    strings: list[str] = []
    begun = at = 0
    opened = -1
    for _ in range(MAX_QUOTES):
        quote = data.find(_QUOTE, at)
        if quote < 0:
            break
        at = quote + 1
        if opened < 0:
            opened = quote
            continue
        if data[quote - 1] == _ESCAPE:  # whether it ends the string is not worth finding out
            break
        if quote - opened > LONG_BYTES and data.find(_BACKSLASH, opened, min(quote, opened + LOOK_BYTES)) < 0:
            kept.append(data[begun : opened + 1])
            kept.append(b"%b%d" % (_WRITTEN_MARK, len(strings)))
            strings.append(str(view[opened + 1 : quote], "utf-8"))
            begun = quote
        opened = -1
    kept.append(data[begun:])
    return b"".join(kept), strings


def _put_back(value: JsonValue, strings: list[str]) -> JsonValue:
    if isinstance(value, str):
        number = value[1:]
        is_mark = value[:1] == _MARK and number.isdecimal() and number.isascii() and len(number) < 4
        return strings[int(number)] if is_mark and int(number) < len(strings) else value
    if isinstance(value, list):
        return [_put_back(one, strings) for one in value]
    if isinstance(value, dict):
        return {name: _put_back(one, strings) for name, one in value.items()}
    return value
