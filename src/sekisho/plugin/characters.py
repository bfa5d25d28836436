"""Which characters may pass: none that a terminal obeys, that turns text around, or that nobody sees.

Guarantees that `forbidden` and `neutralised` mean the same characters: what is refused on the way in is what becomes
visible on the way out. Judgement only; knows nothing of JSON or tools.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["forbidden", "neutralised"]

# C0 without tab and line ends, DEL, C1; the line and paragraph separators, which are line ends to some; what reorders
# text (not the plain LRM and RLM, which Arabic and Hebrew need); zero-width space and no-break space; noncharacters,
# surrogates, tags.
_ALWAYS: Final = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b\ufeff\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_TEXT: Final = re.compile(f"[{_ALWAYS}]")
_IN_LINE: Final = re.compile(f"[{_ALWAYS}\t\n\r]")


def forbidden(text: str, *, multiline: bool) -> str | None:
    """The first character that may not pass, in words, or None."""
    found = (_IN_TEXT if multiline else _IN_LINE).search(text)
    return None if found is None else named(found[0])


def neutralised(text: str) -> tuple[str, int]:
    """The text with every such character made visible, and how many there were."""
    return _IN_TEXT.subn(lambda found: f"⟨{named(found[0])}⟩", text)


def named(character: str) -> str:
    """U+202E, for people."""
    return f"U+{ord(character):04X}"
