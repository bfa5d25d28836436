"""Strict JSON text: what is accepted here means the same to every reader.

Guarantees
- `check_text`: the bytes are UTF-8 without a byte order mark, within the size, depth and member limits; it
  costs well under a microsecond for an ordinary message because exact counting starts only when a cheap bound
  is passed.
- `parse_strict`: in addition the text is JSON without duplicate keys at any depth, without NaN, Infinity,
  numbers that overflow a double, or lone surrogates. Integers keep every digit.
- `reemit`: bytes that carry exactly the parsed value, so the next reader cannot see another one.

Why duplicates can be refused cheaply: a text that re-encodes to itself, byte for byte, has no duplicates,
because encoding a parsed value never writes a key twice, whichever encoder it is. Only texts that fail this
test (blanks, odd escapes, odd numbers) are read a second time by a parser that reports every pair.

Does not know JSON-RPC or MCP; `messages` above does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from typing import Final, TypeAlias

import msgspec

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.long_strings import read_around

__all__ = [
    "JsonLimits",
    "JsonValue",
    "check_text",
    "decode_distinct",
    "parse_strict",
    "read_alike",
    "read_distinct",
    "reemit",
    "refuse_duplicates",
]

# A quoted recursive alias: the `type` statement needs Python 3.12.
JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_MESSAGE_BYTES: Final = 10 << 20  # one message must not exhaust memory

MAX_STRING_BYTES: Final = 16 << 20
MAX_DEPTH: Final = (
    500  # half of what the reader of Python 3.11 takes; later ones take more, and each another number
)

_LONG: Final = 8 << 10
_FEW: Final = 16
_FEW_QUOTES: Final = 1024  # beyond, leaping from string to string costs more than looking at every byte
_FEW_BACKSLASHES: Final = 64
LARGE_BYTES: Final = 64 << 10  # from here on the time goes into long strings, not into members
_QUOTE: Final = b'"'
_BACKSLASH: Final = 0x5C
_BOM: Final = b"\xef\xbb\xbf"
# Possessive, and an unterminated string runs to the end: hostile quotes and backslashes cost linear time.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()
_fast: Final[list[Callable[[object], bytes]]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLimits:
    """How large one text may be. Members are counted as containers plus commas."""

    max_bytes: int = MAX_MESSAGE_BYTES
    max_depth: int = 64  # deep nesting exhausts the stack of recursive readers
    max_members: int = 100_000  # millions of tiny values cost far more memory than their bytes
    max_string_bytes: int = MAX_STRING_BYTES  # as written between the quotes, escapes included

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_depth, self.max_members, self.max_string_bytes) < 1:
            raise ValueError("limits are positive")
        if self.max_depth > MAX_DEPTH:
            raise ValueError(f"no reader here promises more than {MAX_DEPTH} levels")


def check_text(data: bytes, limits: JsonLimits) -> None:
    """Refuse a text that is too large, not UTF-8, too deep or too full; syntax is the parser's business.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_malformed`, `json_too_deep` or `json_too_large`.
    """
    _check_size(data, limits)
    if not data.isascii():
        _check_utf8(data)
    _check_shape(data, limits)


def _check_size(data: bytes | bytearray, limits: JsonLimits) -> None:
    size = len(data)
    if size > limits.max_bytes:
        raise Refused("body_too_large", f"the message has {size} bytes; the limit is {limits.max_bytes}")


def _check_shape(data: bytes | bytearray, limits: JsonLimits) -> None:
    """Refuse what is too deep or too full, whether or not it is a text."""
    size = len(data)
    if size < _LONG:  # nearly always
        bare = data
        # leaps from bracket to bracket, and stops at the first too many; `count` and `translate` look at every byte
        most = limits.max_depth + 1
        opened = 2 * size - len(data.replace(b"{", b"", most)) - len(data.replace(b"[", b"", most))
    else:
        bare = _outside_strings(data)
        opened = _count(bare, b"{") + _count(bare, b"[")
    # a text of n bytes holds fewer than n members
    if opened > limits.max_depth or (
        len(bare) > limits.max_members and opened + _count(bare, b",") > limits.max_members
    ):
        _count_exactly(_STRING.sub(b"", data) if bare is data else bare, limits)
    if size > limits.max_string_bytes:
        _measure_strings(data, limits.max_string_bytes)


def read_alike(data: bytes | bytearray, limits: JsonLimits) -> JsonValue:
    """The value of a large text within the limits that is written as this very text; None where it cannot be shown.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: `json_too_deep` or `json_too_large`.
    """
    _check_size(data, limits)
    found = read_around(data)
    if found is None or not _is_written_alike(found[0], data):
        return None
    _check_shape(found[1], limits)  # in long strings, brackets and commas mean nothing
    if len(data) > limits.max_string_bytes:
        _measure_strings(data, limits.max_string_bytes)
    return found[0]


def read_distinct(data: bytes, limits: JsonLimits) -> tuple[JsonValue, bytes]:
    """`check_text` and `decode_distinct` in one, with the same proof and with less work for a large text.

    That such a text is UTF-8 is looked at only where its value is not written as this very text: what is, is UTF-8.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: a `json_*` code.
    """
    value = read_alike(data, limits) if len(data) >= LARGE_BYTES else None
    if value is not None:
        return value, data
    check_text(data, limits)
    return _decode_distinct(data, 0)


def parse_strict(data: bytes, limits: JsonLimits) -> JsonValue:
    """The value of one JSON text that every strict reader understands alike.

    Raises:
        Refused: `body_too_large`.
        RemoteProtocolError: a `json_*` code.
    """
    check_text(data, limits)
    return decode_distinct(data)[0]


def reemit(raw: bytes | msgspec.Raw) -> bytes:
    """The same value in our own spelling: no blanks, no duplicate keys, no parser differences.

    The text must have passed `check_text` as part of its message. Duplicate keys at any depth are refused.
    """
    return decode_distinct(bytes(raw))[1]


def refuse_duplicates(data: bytes) -> None:
    """Read the whole text with a parser that reports every pair; refuse a key named twice in one object."""
    try:
        json.loads(data, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise RemoteProtocolError("json_too_deep", "the message is nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise RemoteProtocolError("json_malformed", "the message is not strict JSON") from error


def decode_distinct(data: bytes, *, fast_from: int = LARGE_BYTES) -> tuple[JsonValue, bytes]:
    """The value of a text and the value in our own spelling; a key named twice in one object is refused.

    The text must have passed `check_text`. Equal texts prove that nothing was dropped; only others are read again.

    Args:
        fast_from: From how many bytes on orjson is asked for the proof. It takes half the time for a small text too,
            and half a mebibyte of memory that only a process with many texts should spend.
    """
    if len(data) >= LARGE_BYTES:
        found = read_around(data)
        if found is not None and _is_written_alike(found[0], data):
            return found[0], data
    return _decode_distinct(data, fast_from)


def _decode_distinct(data: bytes, fast_from: int) -> tuple[JsonValue, bytes]:
    value: JsonValue
    try:
        value = _decoder.decode(data)
        if len(data) >= fast_from and _is_written_alike(value, data):
            return value, data
        text = _encoder.encode(value)
    except RecursionError as error:
        raise RemoteProtocolError("json_too_deep", "the message is nested too deeply") from error
    except msgspec.ValidationError as error:  # a number beyond a double, or an integer of thousands of digits
        raise RemoteProtocolError("json_too_large", "a number is out of range") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RemoteProtocolError("json_malformed", "the message is not strict JSON") from error
    if text != data:
        refuse_duplicates(data)
    return value, text


def _is_written_alike(value: JsonValue, data: bytes | bytearray) -> bool:
    """Does an encoder write the value as this very text? orjson writes long strings many times faster than msgspec."""
    try:
        return _fast_encoder()(value) == data
    except TypeError:  # its way to say that it does not write integers beyond 64 bits, or anything so deep
        return False


def _fast_encoder() -> Callable[[object], bytes]:
    """Imported with the first text it is asked for: many processes never see one."""
    if not _fast:  # asked twice a call, which `cache` would make four times as dear
        _fast.append(import_module("orjson").dumps)
    return _fast[0]


def _distinct(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise RemoteProtocolError("json_duplicate_key", "an object names a member twice")


def _refuse_constant(name: str) -> None:
    raise RemoteProtocolError("json_malformed", f"{name} is not JSON")


def _check_utf8(data: bytes) -> None:
    if data.startswith(_BOM):
        raise RemoteProtocolError("json_malformed", "the message starts with a byte order mark")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("json_malformed", "the message is not UTF-8") from error


def _count(data: bytes | bytearray, char: bytes) -> int:
    """`data.count(char)` looks at every byte; in a long text with few of them `find` leaps from one to the next."""
    if data.count(char, 0, _LONG) > _FEW:
        return data.count(char)
    seen, position = 0, data.find(char)
    while position >= 0:
        seen += 1
        if seen % _LONG == 0:  # it began with few, and goes on with many
            return seen + data.count(char, position + 1)
        position = data.find(char, position + 1)
    return seen


def _outside_strings(data: bytes | bytearray) -> bytes | bytearray:
    """What stands outside of strings, found by leaping over them; all of the text where they are many or odd.

    A large text is nearly always a few long strings, of which only the quotes matter to brackets and commas.
    """
    outside: list[bytes | bytearray] = []
    at, is_inside = 0, False
    for _ in range(_FEW_QUOTES):
        quote = data.find(_QUOTE, at)
        if not is_inside:
            outside.append(data[at:quote] if quote >= 0 else data[at:])
        if quote < 0:
            return b"".join(outside)
        if is_inside and data[quote - 1] == _BACKSLASH:
            backslashes = data[max(quote - _FEW_BACKSLASHES, at) : quote]
            count = len(backslashes) - len(backslashes.rstrip(b"\\"))
            if count == _FEW_BACKSLASHES:
                return data
            is_inside = count % 2 == 1  # an escaped quote does not end the string
        else:
            is_inside = not is_inside
        at = quote + 1
    return data


def _measure_strings(data: bytes | bytearray, most: int) -> None:
    if any(match.end() - match.start() - 2 > most for match in _STRING.finditer(data)):
        raise RemoteProtocolError("json_too_large", f"a string has more than {most} bytes")


def _count_exactly(bare: bytes | bytearray, limits: JsonLimits) -> None:
    """Count brackets and commas in what stands outside of strings."""
    brackets = bare.translate(None, _NOT_BRACKETS)
    opened = brackets.count(b"{") + brackets.count(b"[")
    if opened + bare.count(b",") > limits.max_members:
        raise RemoteProtocolError("json_too_large", f"the message has more than {limits.max_members} members")
    depth = max(accumulate(_STEP[bracket] for bracket in brackets), default=0)
    if depth > limits.max_depth:
        raise RemoteProtocolError("json_too_deep", f"the message is nested deeper than {limits.max_depth}")
