"""Reads `WWW-Authenticate`: what a refusal asks for. Judgement only.

Guarantees that only what RFC 9110 section 11 writes is read: a scheme, then comma-separated parameters, values as
tokens or quoted strings. A header that does not fit is read as no challenge, which leads to discovery without its hints.
Scopes are those of RFC 6749: words of printable characters, bounded in number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = ["Challenge", "parse_challenge", "scopes_of", "union"]

MAX_CHALLENGE_CHARS: Final = 8192
# a server that names more asks for everything; nobody can judge that on a consent page
MAX_SCOPES: Final = 64
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART: Final = re.compile(
    rf'[ \t,]*(?:({_WORD})[ \t]*=[ \t]*(?:({_WORD}(?:[=/]*))|"((?:[^"\\]|\\.)*)")(?=[ \t]*(?:,|$))'
    rf"|({_WORD})(?=[ \t]|,|$))"
)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What the resource said when it refused."""

    scheme: str = ""
    error: str = ""
    scopes: tuple[str, ...] = ()
    resource_metadata: str | None = None

    @property
    def wants_more_scopes(self) -> bool:
        """True if the token was good and not enough."""
        return self.error == "insufficient_scope"

    @property
    def wants_nonce(self) -> bool:
        """True if the proof lacked the server's nonce (RFC 9449 section 9)."""
        return self.error == "use_dpop_nonce"


def parse_challenge(text: str) -> Challenge:
    """The first challenge with scheme Bearer or DPoP; an empty one if there is none."""
    if len(text) > MAX_CHALLENGE_CHARS:
        return Challenge()
    for scheme, parameters in _challenges(text):
        if scheme in ("bearer", "dpop"):
            return Challenge(
                scheme=scheme,
                error=parameters.get("error", ""),
                scopes=scopes_of(parameters.get("scope", "")),
                resource_metadata=parameters.get("resource_metadata"),
            )
    return Challenge()


def scopes_of(text: str) -> tuple[str, ...]:
    """The scopes of a space-separated list, each once; nothing if one of them is none, or if there are too many."""
    words = text.split(" ") if text else []
    scopes = tuple(dict.fromkeys(word for word in words if word))
    if len(scopes) > MAX_SCOPES or not all(_SCOPE.fullmatch(one) for one in scopes):
        return ()
    return scopes


def union(*lists: tuple[str, ...]) -> tuple[str, ...]:
    """All scopes of several lists, in order, each once."""
    return tuple(dict.fromkeys(scope for one in lists for scope in one))


def _challenges(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    scheme, parameters = "", dict[str, str]()
    at = 0
    while at < len(text.rstrip(" \t,")):
        found = _PART.match(text, at)
        if found is None:
            return  # what follows cannot be read, and what was read may go on there
        at = found.end()
        name, plain, quoted, new_scheme = found.groups()
        if new_scheme is not None:
            if scheme:
                yield scheme, parameters
            scheme, parameters = new_scheme.lower(), {}
            continue
        value = plain if plain is not None else re.sub(r"\\(.)", r"\1", quoted)
        if not scheme or name.lower() in parameters:
            return  # a parameter stated twice means two things
        parameters[name.lower()] = value
    if scheme:
        yield scheme, parameters
