"""Two states of one file, as a person may read the difference: lines of text, or sizes and digests.

Guarantees that what comes out can be written to a terminal and hides nothing (control, bidirectional and invisible
characters are shown by code point), and that no content makes it long or slow. Judgement only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sekisho.detect.difference import difference
from sekisho.detect.hidden import visible

__all__ = ["MAX_TEXT_BYTES", "text_difference", "text_of"]

MAX_TEXT_BYTES: Final = 256 << 10
MAX_LINES: Final = 4_000
MAX_SHOWN: Final = 400


def text_of(content: bytes) -> str | None:
    """The content as text; None when it is not."""
    if len(content) > MAX_TEXT_BYTES or b"\0" in content or content.count(b"\n") > MAX_LINES:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def text_difference(old: bytes, new: bytes) -> tuple[str, ...] | None:
    """Unified lines with everything hidden made visible; None when one of the two is no text, or too long."""
    then, now = text_of(old), text_of(new)
    if then is None or now is None:
        return None
    lines = list(_lines(then, now))
    if len(lines) > MAX_SHOWN:
        return (*lines[:MAX_SHOWN], f"… and {len(lines) - MAX_SHOWN} lines more")
    return tuple(lines)


def _lines(then: str, now: str) -> Iterator[str]:
    # Split at line feeds alone: other separators are characters that a reader must see.
    for line in difference(_split(then), _split(now)):
        yield visible(line, keep="\t")


def _split(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], lines[-1] + "\\ no line end"]
