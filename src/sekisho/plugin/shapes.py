"""What a value may look like: one tree of shapes, read from type hints, that both checks values and writes JSON Schema.

Guarantees
- a value that was read fits the schema that was published, because both come from the same shape;
- unknown keys, wrong types, sizes beyond the bound and characters nobody should send are refused with the place named;
- a bool is no number, NaN and infinity are none either, and a text is bounded whether its author thought of it or not.

Judgement only. Knows no tool and no transport; which hints make which shape is decided in `hints`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from sekisho.plugin.characters import forbidden
from sekisho.plugin.faults import InvalidParameters

__all__ = [
    "ChoiceShape",
    "FilePath",
    "FlagShape",
    "ListShape",
    "NumberShape",
    "OptionalShape",
    "Range",
    "RecordShape",
    "Shape",
    "Size",
    "Text",
    "TextShape",
    "WebUrl",
    "WholeShape",
]

MAX_CHARS: Final = 10_000  # of a text whose author states no bound
MAX_ITEMS: Final = 1_000
MAX_SAFE: Final = (1 << 53) - 1  # beyond it a client written in JavaScript sends another number than it shows
MAX_SHOWN: Final = 40


class Shape(Protocol):
    """One node of the tree."""

    def schema(self) -> dict[str, object]:
        """JSON Schema 2020-12 of exactly the values that `read` takes, as far as the language can say it."""

    def read(self, value: object, where: str) -> object:
        """The value, checked. Raises `InvalidParameters`, which names `where`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Beside `str` in Annotated: bounds of a text. Without `multiline` it has no tab and no line end."""

    max_chars: int = MAX_CHARS
    min_chars: int = 0
    multiline: bool = False
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """Beside `int` or `float`: the lowest and the highest value."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Size:
    """Beside `list[...]`: the least and the most items."""

    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePath:
    """Beside `str`: a path relative to some folder of the plugin's; it cannot climb, and names no drive or device."""

    max_chars: int = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class WebUrl:
    """Beside `str`: an absolute http(s) URL without user, password or fragment; to `hosts` only, if given."""

    hosts: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("https",)
    max_chars: int = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """A text."""

    bounds: Text = Text()
    kind: FilePath | WebUrl | None = None

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        made: dict[str, object] = {"type": "string", "maxLength": self.bounds.max_chars}
        if self.bounds.min_chars:
            made["minLength"] = self.bounds.min_chars
        if self.bounds.pattern is not None:
            made["pattern"] = f"^(?:{self.bounds.pattern})$"
        if isinstance(self.kind, WebUrl):
            made["format"] = "uri"
        return made

    def read(self, value: object, where: str) -> str:
        """As `Shape`."""
        if not isinstance(value, str):
            raise InvalidParameters(f"{where} must be a text")
        if not self.bounds.min_chars <= len(value) <= self.bounds.max_chars:
            raise InvalidParameters(
                f"{where} must have {self.bounds.min_chars} to {self.bounds.max_chars} characters"
            )
        bad = forbidden(value, multiline=self.bounds.multiline)
        if bad is not None:
            raise InvalidParameters(f"{where} holds the character {bad}, which is not allowed there")
        if self.bounds.pattern is not None and not re.fullmatch(self.bounds.pattern, value):
            raise InvalidParameters(f"{where} does not have the form it should have")
        match self.kind:
            case FilePath():
                _check_path(value, where)
            case WebUrl():
                _check_url(value, self.kind, where)
            case None:
                pass
        return value


def _check_path(value: str, where: str) -> None:
    parts = value.split("/")
    if not value or value.startswith("/") or "\\" in value or ":" in parts[0] or {"..", ".", ""} & set(parts):
        raise InvalidParameters(f"{where} must be a relative path without empty, . or .. parts")


def _check_url(value: str, rule: WebUrl, where: str) -> None:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidParameters(f"{where} is not a URL") from None
    # Programs differ in how they read a backslash or a blank; who differs can be led to another host.
    if "\\" in value or " " in value or not value.isascii():
        raise InvalidParameters(f"{where} holds characters that do not stand in a URL")
    if parts.scheme not in rule.schemes or not host or parts.fragment or port == 0:
        raise InvalidParameters(f"{where} must begin with {' or '.join(rule.schemes)}:// and a host")
    if "@" in parts.netloc:
        raise InvalidParameters(f"{where} must not carry a user or a password")
    if rule.hosts and host not in rule.hosts:
        raise InvalidParameters(f"{where} leads to another host than {', '.join(rule.hosts)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeShape:
    """A whole number."""

    range: Range = Range(-MAX_SAFE, MAX_SAFE)

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        return {"type": "integer", "minimum": int(self.range.low), "maximum": int(self.range.high)}

    def read(self, value: object, where: str) -> int:
        """As `Shape`."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON knows one kind of number: 2.0 is 2, and the schema takes it
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidParameters(f"{where} must be a whole number")
        if not self.range.low <= value <= self.range.high:
            raise InvalidParameters(f"{where} must be {self.range.low:.0f} to {self.range.high:.0f}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberShape:
    """A finite number."""

    range: Range | None = None

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        made: dict[str, object] = {"type": "number"}
        return made if self.range is None else {**made, "minimum": self.range.low, "maximum": self.range.high}

    def read(self, value: object, where: str) -> float:
        """As `Shape`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise InvalidParameters(f"{where} must be a number")
        if self.range is not None and not self.range.low <= value <= self.range.high:
            raise InvalidParameters(f"{where} must be {self.range.low:g} to {self.range.high:g}")
        return float(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


@dataclass(frozen=True, slots=True)
class FlagShape:
    """True or false."""

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        return {"type": "boolean"}

    def read(self, value: object, where: str) -> bool:
        """As `Shape`."""
        if not isinstance(value, bool):
            raise InvalidParameters(f"{where} must be true or false")
        return value


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """One of some texts."""

    words: tuple[str, ...]

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        return {"type": "string", "enum": list(self.words)}

    def read(self, value: object, where: str) -> str:
        """As `Shape`."""
        if not isinstance(value, str) or value not in self.words:
            raise InvalidParameters(f"{where} must be one of {', '.join(self.words)}")
        return value


@dataclass(frozen=True, slots=True)
class OptionalShape:
    """Something, or null."""

    inner: Shape

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        return {"anyOf": [self.inner.schema(), {"type": "null"}]}

    def read(self, value: object, where: str) -> object:
        """As `Shape`."""
        return None if value is None else self.inner.read(value, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListShape:
    """A list of one shape."""

    items: Shape
    size: Size = Size(0, MAX_ITEMS)

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        made: dict[str, object] = {"type": "array", "items": self.items.schema(), "maxItems": self.size.most}
        return {**made, "minItems": self.size.least} if self.size.least else made

    def read(self, value: object, where: str) -> list[object]:
        """As `Shape`."""
        if not isinstance(value, list | tuple):
            raise InvalidParameters(f"{where} must be a list")
        if not self.size.least <= len(value) <= self.size.most:
            raise InvalidParameters(f"{where} must have {self.size.least} to {self.size.most} items")
        return [self.items.read(one, f"{where}[{place}]") for place, one in enumerate(value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordShape:
    """An object with known keys and no others."""

    fields: Mapping[str, Shape]
    required: frozenset[str] = frozenset()
    descriptions: Mapping[str, str]

    def schema(self) -> dict[str, object]:
        """As `Shape`."""
        properties = {
            name: {**shape.schema(), "description": self.descriptions[name]}
            if name in self.descriptions
            else shape.schema()
            for name, shape in self.fields.items()
        }
        made: dict[str, object] = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [name for name in self.fields if name in self.required]
        return {**made, "required": required} if required else made

    def read(self, value: object, where: str) -> dict[str, object]:
        """As `Shape`."""
        if not isinstance(value, Mapping):
            raise InvalidParameters(f"{where} must be an object")
        for name in value:
            if name not in self.fields:
                known = ", ".join(self.fields) or "nothing"
                raise InvalidParameters(f"{where}: {_shown(name)} is unknown; known: {known}")
        for name in self.fields:
            if name in self.required and name not in value:
                raise InvalidParameters(f"{where}: {name} is missing")
        return {
            name: shape.read(value[name], f"{where}.{name}")
            for name, shape in self.fields.items()
            if name in value
        }


def _shown(name: object) -> str:
    """A stranger's word, fit for a message."""
    return ascii(str(name)[:MAX_SHOWN])
