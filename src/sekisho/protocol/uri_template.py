"""URI templates (RFC 6570) as a question: could this URI have been made from that template?

Guarantees:
- every expansion of a template of levels 1 to 3, with any values, matches it;
- a match costs time in proportion to the length of the URI times the number of parts of the template, whatever
  either of them says: there is no backtracking and no regular expression, because both come from strangers;
- what a value may not be written with (blanks, control characters, quotes, brackets) never matches.

A match is wider than an expansion in two ways, since clients fill templates in by hand: a value may hold reserved
characters that end no part of a URI (`:` or `@`), and the modifiers of level 4 are read loosely (`{path*}` spans
slashes, `{var:3}` has any length). Says nothing of who may read the URI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters, digits
from typing import Final, Protocol
from urllib.parse import quote

from sekisho.errors import RemoteProtocolError

__all__ = ["UriTemplate", "UriText"]

MAX_TEMPLATE_CHARS: Final = 2048  # the longest name of a surface
MAX_VARIABLES: Final = 64  # of one template; the work of a match grows with them
MAX_URI_CHARS: Final = 2048  # longer ones match nothing; a surface names none that is longer either

_UNRESERVED: Final = ascii_letters + digits + "-._~"
_DELIMITERS: Final = ":/?#[]@!$&'()*+,;="
_URI: Final = _UNRESERVED + _DELIMITERS + "%"
_NAME: Final = frozenset(ascii_letters + digits + "_.%-")
_OPERATORS: Final = "+#./;?&"
_RESERVED_OPERATORS: Final = "=,!@|"  # RFC 6570 section 2.2 keeps them for later


def _table(chars: str) -> bytes:
    """For `bytes.translate`: which bytes belong to a class, as binary digits."""
    allowed = chars.encode()
    return bytes(ord("1") if byte in allowed else ord("0") for byte in range(256))


_ANYTHING: Final = _table(_URI)
_SEGMENT: Final = _table("".join(one for one in _URI if one not in "/?#"))
_PATH: Final = _table("".join(one for one in _URI if one not in "?#"))
_QUERY: Final = _table("".join(one for one in _URI if one != "#"))
_PAIR: Final = _table("".join(one for one in _URI if one not in "&#"))


class UriText:
    """A URI made ready to be matched, by as many templates as one likes.

    Places in it are bits of one number: bit n is set when what came so far may end before character n. A class of
    characters is such a number too, so that one addition carries every place through a run of that class at once.
    """

    def __init__(self, uri: str) -> None:
        self.text = _spelled(uri)[: MAX_URI_CHARS + 1].encode()
        self.is_matchable = 0 < len(self.text) <= MAX_URI_CHARS and _is_escaped(self.text)
        self._classes: dict[bytes, int] = {}

    def after_literal(self, places: int, literal: bytes) -> int:
        """Where one is after this literal, starting at any of these places."""
        if places & (places - 1) == 0:  # nearly always there is one place
            start = places.bit_length() - 1
            return places << len(literal) if self.text.startswith(literal, start) else 0
        for byte in literal:
            places = (places & self._class(_SINGLES[byte])) << 1
            if not places:
                return 0
        return places

    def after_run(self, places: int, table: bytes) -> int:
        """Where one may be after any number of characters of a class, none included."""
        run = self._class(table)
        return (((places & run) + run) ^ run) | places

    def _class(self, table: bytes) -> int:
        found = self._classes.get(table)
        if found is None:
            found = self._classes[table] = int(self.text[::-1].translate(table), 2)
        return found

    @cached_property
    def end(self) -> int:
        """The place behind the last character."""
        return 1 << len(self.text)


class _Part(Protocol):
    """One piece of a template."""

    def advance(self, places: int, uri: UriText) -> int:
        """Where one may be after it."""


@dataclass(frozen=True, slots=True)
class _Literal:
    text: bytes

    def advance(self, places: int, uri: UriText) -> int:
        return uri.after_literal(places, self.text)


@dataclass(frozen=True, slots=True)
class _Value:
    """`{a,b}` and `{+a}`: any characters of a class."""

    table: bytes

    def advance(self, places: int, uri: UriText) -> int:
        return uri.after_run(places, self.table)


@dataclass(frozen=True, slots=True)
class _Marked:
    """`{#a}`, `{.a}`, `{/a}`: nothing at all, or a mark and a value, up to `most` times."""

    mark: bytes
    table: bytes
    most: int

    def advance(self, places: int, uri: UriText) -> int:
        every = places
        for _ in range(self.most):
            places = uri.after_run(uri.after_literal(places, self.mark), self.table) if places else 0
            every |= places
        return every


@dataclass(frozen=True, slots=True)
class _Pairs:
    """`{;a,b}`, `{?a,b}`, `{&a,b}`: any of the named pairs, in their order."""

    first: bytes
    mark: bytes
    names: tuple[bytes, ...]
    table: bytes
    may_lack_value: bool

    def advance(self, places: int, uri: UriText) -> int:
        some = 0
        for name in self.names:
            at = uri.after_literal(places, self.first + name) if places else 0
            at |= uri.after_literal(some, self.mark + name) if some else 0
            if not at:
                continue
            some |= uri.after_run(uri.after_literal(at, b"="), self.table)
            if self.may_lack_value:
                some |= at
        return places | some


@dataclass(frozen=True, slots=True, kw_only=True)
class UriTemplate:
    """A template that was understood."""

    text: str
    parts: tuple[_Part, ...]

    @classmethod
    def parse(cls, text: str) -> UriTemplate:
        """Read a template.

        Raises:
            RemoteProtocolError: `plugin_protocol`, it is not one, or it is larger than any honest one.
        """
        if not 0 < len(text) <= MAX_TEMPLATE_CHARS:
            raise _unusable(f"has not 1 to {MAX_TEMPLATE_CHARS} characters")
        parts: list[_Part] = []
        literal, *expressions = text.split("{")
        _add_literal(parts, literal)
        count = 0
        for expression in expressions:
            inside, closed, literal = expression.partition("}")
            if not closed:
                raise _unusable("has a bracket that is not closed")
            count += _add_expression(parts, inside)
            if count > MAX_VARIABLES:
                raise _unusable(f"has more than {MAX_VARIABLES} variables")
            _add_literal(parts, literal)
        return cls(text=text, parts=tuple(parts))

    def matches(self, uri: str | UriText) -> bool:
        """Could this URI have been made from the template?"""
        ready = UriText(uri) if isinstance(uri, str) else uri
        if not ready.is_matchable:
            return False
        places = 1
        for part in self.parts:
            places = part.advance(places, ready)
            if not places:
                return False
        return bool(places & ready.end)


def _add_literal(parts: list[_Part], literal: str) -> None:
    if "}" in literal:
        raise _unusable("has a bracket that was not opened")
    if literal:
        spelled = quote(literal, safe=_URI).encode()  # RFC 6570 section 3.1: what no URI holds is escaped
        if not _is_escaped(spelled):
            raise _unusable("has a % that escapes nothing")
        parts.append(_Literal(spelled))


def _add_expression(parts: list[_Part], inside: str) -> int:
    operator = inside[:1] if inside[:1] in _OPERATORS + _RESERVED_OPERATORS else ""
    if operator and operator in _RESERVED_OPERATORS:
        raise _unusable("has an operator that RFC 6570 does not define")
    words = inside[len(operator) :].split(",")
    names = [_variable(word) for word in words]
    is_exploded = any(word.endswith("*") for word in words)
    parts.append(_expression(operator, names, is_exploded=is_exploded))
    return len(names)


def _expression(operator: str, names: Sequence[str], *, is_exploded: bool) -> _Part:
    match operator:
        case "":
            return _Value(_PATH if is_exploded else _SEGMENT)
        case "+":
            return _Value(_ANYTHING)
        case "#":
            return _Marked(b"#", _ANYTHING, 1)
        case ".":
            return _Marked(b".", _SEGMENT, 1)  # a value may hold dots itself, so one run holds all of them
        case "/":
            return _Marked(b"/", _PATH, 1) if is_exploded else _Marked(b"/", _SEGMENT, len(names))
        case _ if is_exploded:  # an exploded variable brings names of its own
            return _Marked(operator.encode(), _SEGMENT if operator == ";" else _QUERY, 1)
        case _:
            return _Pairs(
                first=operator.encode(),
                mark=b";" if operator == ";" else b"&",
                names=tuple(name.encode() for name in names),
                table=_SEGMENT if operator == ";" else _PAIR,
                may_lack_value=operator == ";",
            )


def _variable(word: str) -> str:
    """The name of a variable, without the modifier of level 4."""
    name, colon, length = word.removesuffix("*").partition(":")
    if not name or not _NAME.issuperset(name):
        raise _unusable("has a variable without a usable name")
    if colon and not (length.isascii() and length.isdigit() and len(length) <= 4):
        raise _unusable("has a length that is not a number")
    return name


def _spelled(uri: str) -> str:
    """Characters beyond ASCII as a URI writes them; many clients leave that to the server."""
    try:
        return uri if uri.isascii() or len(uri) > MAX_URI_CHARS else quote(uri, safe=_ASCII)
    except UnicodeEncodeError:  # half a surrogate pair names nothing
        return ""


def _is_escaped(text: bytes) -> bool:
    """True when every % begins an escape."""
    pieces = text.split(b"%")[1:]
    return all(len(piece) >= 2 and _HEX.issuperset(piece[:2]) for piece in pieces)


def _unusable(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the URI template {why}")


_ASCII: Final = "".join(map(chr, range(128)))  # left as they stand
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_SINGLES: Final = tuple(bytes(49 if one == byte else 48 for one in range(256)) for byte in range(256))
