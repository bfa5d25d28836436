"""Characters that a reviewer cannot see, shown by code point.

- Control, format (bidirectional, zero-width, tag), variation-selector, private-use, unassigned and surrogate
  code points, line and paragraph separators, and the letters that draw nothing, become `⟨U+202E⟩`.
- What comes out of `visible` and `visible_json` can be written to a terminal: it holds no escape and encodes
  as UTF-8.
- Nothing is dropped and nothing is normalised; look-alike letters are shown as they are. Whether a text is an
  instruction to a model is not judged here.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from sekisho.protocol import JsonValue

__all__ = ["HiddenCharacter", "hidden_characters", "is_hidden", "visible", "visible_json"]

LINE_LAYOUT: Final = "\n\t"  # moves the cursor only forward; ordinary in a description
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# Unicode Default_Ignorable_Code_Point and blank glyphs that have a harmless-looking category (Mn, Lo, So).
_HIDDEN_RANGES: Final = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2800, 0x2800),  # Braille blank
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),  # variation selectors supplement: one per byte value, a known smuggling alphabet
)
_INDENT: Final = "  "


class HiddenCharacter(NamedTuple):
    """Where it stands in the text, which code point it is, and what Unicode calls it."""

    position: int
    codepoint: int
    name: str


def hidden_characters(text: str) -> tuple[HiddenCharacter, ...]:
    """Every hidden character of a text, line breaks and tabs excepted."""
    return tuple(
        HiddenCharacter(index, ord(character), _name(character))
        for index, character in enumerate(text)
        if character not in LINE_LAYOUT and is_hidden(character)
    )


def is_hidden(character: str) -> bool:
    """Whether a reader would not see this character, or not where it stands."""
    if unicodedata.category(character) in _HIDDEN_CATEGORIES:
        return True
    point = ord(character)
    return any(first <= point <= last for first, last in _HIDDEN_RANGES)


def visible(text: str, *, keep: str = "") -> str:
    """The text with every hidden character shown by code point, line breaks too unless listed in `keep`.

    A line break is shown by default so that one line of untrusted text stays one line of output.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"⟨U+{ord(character):04X}⟩" if is_hidden(character) and character not in keep else character
        for character in text
    )


def visible_json(value: JsonValue) -> str:
    """A definition as indented JSON for people: every key and string made visible, the order kept."""
    return "".join(_render(value, "\n"))


def _render(value: JsonValue, newline: str) -> Iterator[str]:
    # Written out by hand: rebuilding the value with visible keys could merge two keys into one and hide a
    # member.
    inner = newline + _INDENT
    if isinstance(value, dict) and value:
        yield "{"
        for index, (key, member) in enumerate(value.items()):
            yield f"{',' if index else ''}{inner}{_quoted(key)}: "
            yield from _render(member, inner)
        yield newline + "}"
    elif isinstance(value, list) and value:
        yield "["
        for index, member in enumerate(value):
            yield f"{',' if index else ''}{inner}"
            yield from _render(member, inner)
        yield newline + "]"
    elif isinstance(value, str):
        yield _quoted(value)
    else:
        yield json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(visible(text, keep=LINE_LAYOUT), ensure_ascii=False)


def _name(character: str) -> str:
    category = unicodedata.category(character)
    fallback = {"Cc": "CONTROL", "Co": "PRIVATE USE", "Cs": "LONE SURROGATE"}.get(category, "UNASSIGNED")
    return unicodedata.name(character, fallback)
