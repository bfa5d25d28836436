"""Places that stand behind something else in one text: behind an option, a scheme, a sign, or another place.

- What stands before a place in the ways programs read it is taken away: `--out=/x`, `-f/x`, `-f /x`, `of=/x`, `unix:/x`,
  `@/x`, `>/x`, `"/x"`.
- A text that begins with a place is read as a list too, as search paths, shells and tables of names are: `/a:/b`,
  `C:\\a;C:\\b`, `/a /b`, `https://a,https://b`. Each part counts, cut where such a reader cuts it.
- A text that begins with none is read as a list only when no blank stands in it; with one it is prose. Signs of a
  regular expression, and what a `data:` address carries, begin no place.

Judgement over text alone; `named_places` says what a part names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["MAX_LIST_CHARS", "bare", "begins_address", "parts"]

MAX_LIST_CHARS: Final = 32 << 10  # a longer text without a blank is code or data
MAX_PARTS: Final = 256  # no honest search path is as long
MAX_VARIABLES: Final = 64  # `${`: for each, its end is looked for as far as the text goes
_MAX_WRAPPINGS: Final = 6  # --out="@/x" has three

_NAME: Final = r"[^\s:;,=|<>&\"'`()\\/]+"
_CLIMB: Final = rf"(?:{_NAME}[\\/])*\.\.(?![^\s:;,=|<>&\"'`()\\/])"
_FAR: Final = (
    rf"[a-z][a-z0-9+.\-]{{0,40}}:[\\/]{{2}}\S|(?:[a-z]|file|jar|url):[\\/]|"
    rf"\$(?:[a-z_]\w*|\{{[^}}]*\}})[\\/]|%[a-z_]\w*%[\\/]|{_CLIMB}"
)
# Where a place may begin in a text that is none by itself: `[:/]`, `(?:/` and `:/` begin nothing.
_BEGIN: Final = rf"(?:/+[\w.~%$@+-](?![^\[\s:;,=]*\])(?![^(\s:;,=]*\))|~[\w.-]*[\\/]|\\\\[\w.]|{_FAR})"
# The same behind a place: there the text is a list or a command line, and no prose.
_BEGIN_BEHIND: Final = rf"(?:[/\\~]|{_FAR})"

_BEFORE: Final = re.compile(
    rf"""--?[A-Za-z][\w-]*=|@(?=[/~.\\])|["'`](?=\S+$)(?=@?{_BEGIN})
    |(?:--?[A-Za-z][\w-]*\s+|-[A-Za-z]{{1,3}}:?|@|[0-9]?>{{1,2}}\s*|\|\s*|[\w.+@-]{{1,64}}[:=])(?=@?{_BEGIN})""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED: Final = re.compile(r"""(["'`])(.+)\1|<([a-z][a-z0-9+.\-]*:\S+)>""", re.IGNORECASE | re.DOTALL)
_ADDRESS: Final = re.compile(
    r"(?:[a-z][a-z0-9+.\-]{0,40}:){1,4}[\\/]{2}|(?:https?|wss?|ftps?|sftp|gopher|file|jar|url):\S",
    re.IGNORECASE,
)
_DATA: Final = re.compile(r"data:[^,\s]{0,200},", re.IGNORECASE)
_SCHEME: Final = re.compile(
    r"(?:[a-z][a-z0-9+.\-]{0,40}:){1,4}[\\/]{2}|(?:https?|wss?|ftps?|sftp|gopher):", re.IGNORECASE
)
_NEXT: Final = re.compile(rf"(?<!\?)[:;,=](?={_BEGIN})", re.IGNORECASE)
_NEXT_BEHIND: Final = re.compile(rf"[\s:;,=|<>&\"'`()]@?(?:-[a-z]{{1,3}})?(?={_BEGIN_BEHIND})", re.IGNORECASE)
_NEXT_WEB: Final = re.compile(rf"[\s,;](?={_BEGIN})", re.IGNORECASE)
_END: Final = re.compile(r"[\s:;,=|<>&\"'`()]")
_END_WEB: Final = re.compile(r"[\s,;]")


def begins_address(text: str) -> bool:
    """Whether it begins with a scheme and two slashes, or with one of the web or of files."""
    return _ADDRESS.match(text) is not None


def bare(text: str) -> str:
    """The text without what programs take away before they open it."""
    for _ in range(_MAX_WRAPPINGS):
        quoted = _QUOTED.fullmatch(text)
        before = None if begins_address(text) else _BEFORE.match(text)
        if quoted:
            text = quoted[2] or quoted[3]
        elif before:
            text = text[before.end() :]
        else:
            break
    return text


def parts(text: str, *, is_place: bool) -> Iterator[str]:
    """The parts of a list; nothing for a text that is none. More than can be looked at are the part `/`.

    Args:
        is_place: whether the text begins with a place.
    """
    if _DATA.match(text) or (not is_place and re.search(r"\s", text)):
        return
    if len(text) > MAX_LIST_CHARS:
        if is_place and _NEXT_BEHIND.search(text):
            yield "/"
        return
    if text.count("${") > MAX_VARIABLES:
        yield "/"
        return
    at = 0
    for _ in range(MAX_PARTS):
        scheme = _SCHEME.match(text, at)
        is_web = scheme is not None and not scheme[0].lower().startswith("file:")
        inner = scheme.end() if scheme else at + 2 if text[at + 1 : at + 2] == ":" else at
        end = (_END_WEB if is_web else _END).search(text, inner)
        if at or end:
            yield text[at : end.start() if end else len(text)]
        following = (_NEXT_WEB if is_web else _NEXT_BEHIND if is_place else _NEXT).search(text, inner)
        if following is None:
            return
        at = following.end()
        is_place = True
    yield "/"
