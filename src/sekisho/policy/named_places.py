"""Which place a text names, if any: a path, an address, or nothing. docs/concepts/roots.md states the rules for people.

- A text is a path when it is one as a whole: absolute (`/etc/x`), below a home (`~/x`, `$HOME/x`), of Windows
  (`C:\\x`, `\\\\server\\x`), or one that climbs (`a/../../b`). Any other relative path names nothing: it stays where the
  plugin is.
- A text is an address when it begins with `scheme://`, or with a scheme of the web or of files and a colon that no
  blank follows.
- What stands behind an option, a scheme or a sign (`--output=/x`, `-f/x`, `unix:/x`, `@/x`), and each part of a list
  (`/a:/b`), names what it names by itself (`place_lists`).
- A text is an address when it is written as `scp` and `git` read it, too: `user@host:path/x`.
- Braces with a comma are read as patterns of names are (`{/etc,x}/y`, `a/{..,b}`): whatever could come of them counts.
- Prose names nothing: a word like and/or, a slash among words, an address in the middle of a sentence, a comment,
  many lines.
- A text is read in every way in which somebody behind us may read it: as it is, with look-alike characters folded,
  without the line breaks that browsers drop, and unescaped, again and again. Each reading that names a place counts.
- What the name of a property or the schema says of a value makes it a path or an address where its form leaves a doubt;
  it never makes it prose.

Judgement over text alone. Whether a place may be named is decided by `root_rules`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, Literal

from sekisho.policy.place_lists import bare, begins_address, parts

__all__ = ["Hint", "Place", "Spend", "climbs", "is_json", "is_scheme", "may_name_place", "named_places"]

Hint = Literal["", "path", "address"]
Place = tuple[Literal["path", "address"], str]
Spend = Callable[[int], None]  # told of each reading that costs more than a look, in characters; may refuse

MAX_NAMES: Final = 16  # more lines are a text, such as base64 that was wrapped
MAX_LINES: Final = 1_000
MAX_UNESCAPES: Final = 8  # an honest text is unescaped once; what needs more is made to get past somebody
MAX_LONG_UNESCAPES: Final = 3  # of a text that is longer than any path: each reading of it costs
LONG_CHARS: Final = 4096
_HINTLESS: Final = re.compile(r"[/\\~$%:\0]|\.\.|[^\x00-\x7f]")  # without one of these nothing is named

_LOOK_ALIKES: Final = str.maketrans(
    {
        **dict.fromkeys("⁄∕⧸╱⟋", "/"),
        **dict.fromkeys("∖⧵⧹╲⟍", "\\"),
        **dict.fromkeys("。｡", "."),
        **dict.fromkeys("∶꞉ː", ":"),
        "∼": "~",
    }
)
# Format characters of Unicode (category Cf) and their neighbours: nobody sees them, and some readers drop them.
_UNSEEN: Final = re.compile(
    "[\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_ESCAPE: Final = re.compile(r"%u([0-9a-fA-F]{4})|((?:%[0-9a-fA-F]{2})+)")
_OVERLONG: Final = re.compile(
    rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
)
_BREAKS: Final = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_DROPPED: Final = str.maketrans("", "", "\t\n\r")  # WHATWG URL drops them wherever they stand
_EDGES: Final = "".join(map(chr, range(1, 33))) + "\x7f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"

_SHELL_ADDRESS: Final = re.compile(r"[\w.-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})*:(?=\S*[/~])\S")
_ANY_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.\-]{0,40}:(?![0-9]{1,5}(?:[/?#]|$))", re.IGNORECASE)
_ABSOLUTE: Final = re.compile(r"/+(?!\*\*?\s)[^\s/]")  # a comment of a program is no path
_HOME: Final = re.compile(
    r"~(?:[A-Za-z_][\w.-]*)?(?:[\\/]|$)|\$(?:[A-Za-z_]\w*|\{[^}]*\})[\\/]|%[A-Za-z_]\w*%[\\/]"
)
# Alone these may be a price or a key of JSON; what is said to be a path may be expanded by whoever opens it.
_VARIABLE: Final = re.compile(r"\$[A-Za-z_]\w*|\$\{[^}]*\}|%[A-Za-z_]\w*%")
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\s\\]|\\(?:[\w.$-]+\\)+[\w.$-]*$")
_BRACES: Final = re.compile(r"[{},]")
_JPEG: Final = re.compile(r"/9j/[A-Za-z0-9+/]{60,}={0,2}")  # every picture of that kind begins so in base64


def may_name_place(text: str) -> bool:
    """Whether a text without a hint deserves a look; most do not."""
    return _HINTLESS.search(text) is not None


def _free(_chars: int) -> None:
    return


def named_places(text: str, hint: Hint = "", spend: Spend = _free) -> Iterator[Place]:
    """Every place that some reading of the text names."""
    seen: set[str] = set()
    for line, line_hint in _lines(text, hint):
        for reading in _readings(line, spend):
            if reading in seen:
                continue
            seen.add(reading)
            yield from _places(reading, line_hint, spend)


def _lines(text: str, hint: Hint) -> Iterator[tuple[str, Hint]]:
    """One line is looked at. Several are text, unless each could be a name, or a hint says that they are names."""
    bare = text.strip(_EDGES)
    if not _BREAKS.search(bare):
        yield bare, hint
        if "\t" in bare:
            yield bare.translate(_DROPPED), hint
        return
    if not hint and " " in bare:
        return
    joined = _BREAKS.sub("", bare.translate(_DROPPED))
    is_of_names = not re.search(r"\s", joined)
    if is_of_names:
        yield joined, hint
    if is_of_names or hint:
        lines = _BREAKS.split(bare, maxsplit=MAX_LINES)
        if len(lines) <= (MAX_LINES if hint else MAX_NAMES):
            yield from ((line.strip(_EDGES), "") for line in lines if may_name_place(line))


def _readings(text: str, spend: Spend) -> Iterator[str]:
    """The text as it is, and each way in which it may be folded or unescaped."""
    for _ in range(MAX_UNESCAPES if len(text) <= LONG_CHARS else MAX_LONG_UNESCAPES):
        yield text
        folded = _folded(text)
        if folded != text:
            yield folded
        decoded = _unescaped(folded)
        if decoded == folded:
            return
        spend(len(text))
        text = decoded.strip(_EDGES)
    yield "/" + text  # nobody honest escapes that often: it is taken for a place outside


def _folded(text: str) -> str:
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES)
    return _UNSEEN.sub("", plain).strip(_EDGES)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "%" in text else text


def _character(found: re.Match[str]) -> str:
    if found[1]:
        code = int(found[1], 16)
        return chr(code) if not 0xD800 <= code <= 0xDFFF else "\ufffd"
    data = bytes.fromhex(found[2].replace("%", ""))
    return _OVERLONG.sub(_shortest, data).decode("utf-8", "replace")


def _shortest(found: re.Match[bytes]) -> bytes:
    """A byte that was written as several, which some readers still take for the one."""
    code = 0
    for byte in found[0]:
        code = code << 6 | byte & 0x3F
    return bytes((code & 0x7F,))


def _places(text: str, hint: Hint, spend: Spend) -> Iterator[Place]:
    text = bare(text)
    place = _place(text, hint)
    if place is not None:
        spend(len(text))
        yield place
    if text[:1] == "{" and "," in text and not is_json(text):
        spend(len(text))
        named = (part for part in _alternatives(text) if may_name_place(part))
        yield from (found for part in named if (found := _place(bare(part), "")) is not None)
    is_place = place is not None and (hint == "" or _place(text, "") is not None)
    for number, part in enumerate(parts(text, is_place=is_place)):
        if number == 1:
            spend(len(text))  # a list
        # Behind a place even a bare slash is one.
        inner = _place(bare(part), "path" if is_place else "")
        if inner is not None:
            yield inner


def _alternatives(text: str) -> Iterator[str]:
    """What a pattern may begin with whose first sign is a brace; behind an alternative of nothing, what follows it."""
    yield from (part.partition("}")[0] for part in re.split("[{,]", text)[1:])
    if re.search("[{,][,}]", text):
        yield from text.split("}")[1:]


def _place(text: str, hint: Hint) -> Place | None:
    if begins_address(text) or _SHELL_ADDRESS.match(text):
        return "address", text
    if _is_path(text, hint):
        return "path", text
    if hint == "address" and text:
        return "address", text
    if "\0" in text and (hint or any(_is_path(part, "") for part in text.split("\0"))):
        return "path", text
    return None


def _is_path(text: str, hint: Hint) -> bool:
    if text[:1] in "/\\~$%" or text[1:2] == ":":
        if hint and (text[:1] == "/" or _VARIABLE.fullmatch(text)):
            return True
        if _ABSOLUTE.match(text):
            return not _JPEG.fullmatch(text)
        if _HOME.match(text) or _WINDOWS.match(text):
            return True
    return ".." in text and climbs(text)


def climbs(text: str) -> bool:
    """Whether some part of it is `..`, or could come of its braces, whichever slash parts it."""
    parts = re.split(r"[\\/]", text)
    if any(part.partition(";")[0].strip() == ".." for part in parts):
        return True
    return "{" in text and any(map(_could_climb, parts))


def _could_climb(part: str) -> bool:
    """Whether alternatives of dots alone stand in it, which are two together: `{..,x}`, `{.,}{.,x}`."""
    pieces = [one.strip() for one in _BRACES.split(part)]
    return len(pieces) > 1 and sum(len(one) for one in pieces if one in (".", "..")) > 1


def is_json(text: str) -> bool:
    """Whether it is an object or a list of JSON, whose braces mean something else."""
    try:
        return text[:1] in ("{", "[") and isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def is_scheme(text: str) -> bool:
    """Whether it begins with a scheme; `host:8080` does not."""
    return _ANY_SCHEME.match(text) is not None
