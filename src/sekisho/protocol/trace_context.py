"""Trace context and baggage as one request says them, in headers or in `_meta` (W3C Trace Context, W3C Baggage, SEP-414).

Guarantees
- what is not exactly of the W3C's grammar counts as not said, and nothing is mended but blanks around commas;
- a `tracestate` never stands without the `traceparent` it belongs to;
- every value given is printable ASCII, so it can be the value of a header whoever wrote it.

Judgement: values in, values out. Follows no trace, makes no id, and gives no meaning to any value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["TRACE_NAMES", "read_trace", "says_trace"]

TRACE_NAMES: Final = ("traceparent", "tracestate", "baggage")
MAX_STATES: Final = 32  # Trace Context, tracestate: the most a list may have
MAX_STATE_CHARS: Final = 512  # the same, limits: so much at least is passed on
MAX_BAGGAGE_MEMBERS: Final = 64  # Baggage, limits: more need not be passed on
MAX_BAGGAGE_CHARS: Final = 8192

# Version 00 alone: what a later one will mean, and whether it may be passed on as it is, nobody can say yet.
_PARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE: Final = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE: Final = r"=[ \t]*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_ENTRY: Final = re.compile(rf"{_NAME}[ \t]*{_VALUE}")
_PROPERTY: Final = re.compile(rf"{_NAME}[ \t]*(?:{_VALUE})?")
_BLANKS: Final = str.maketrans("", "", " \t")


def says_trace(headers: Mapping[str, str]) -> bool:
    """True when any of these headers is there, valid or not; names are lower-case."""
    return "traceparent" in headers or "baggage" in headers or "tracestate" in headers


def read_trace(said: Mapping[str, object], names: Collection[str]) -> dict[str, str]:
    """What is said under these of `TRACE_NAMES`, as far as it is valid."""
    found: dict[str, str] = {}
    parent, state, baggage = (said.get(name) if name in names else None for name in TRACE_NAMES)
    if isinstance(parent, str) and _PARENT.fullmatch(parent):
        found["traceparent"] = parent
        states = _states(state) if isinstance(state, str) else ""
        if states:
            found["tracestate"] = states
    entries = _entries(baggage) if isinstance(baggage, str) else ""
    if entries:
        found["baggage"] = entries
    return found


def _states(text: str) -> str:
    """The list, shortened from its end, where the oldest are; "" for none, or one that is invalid."""
    states = _members(text)
    if len(states) > MAX_STATES:
        return ""
    keys: set[str] = set()
    for state in states:
        match = _STATE.fullmatch(state)
        if match is None or match[1] in keys:
            return ""
        keys.add(match[1])
    while len(joined := ",".join(states)) > MAX_STATE_CHARS:
        states.pop()
    return joined


def _entries(text: str) -> str:
    """The list without blanks; "" for none, or one that is invalid or larger than has to be passed on."""
    if len(text) > MAX_BAGGAGE_CHARS:
        return ""
    entries = _members(text)
    if len(entries) > MAX_BAGGAGE_MEMBERS or not all(map(_is_entry, entries)):
        return ""
    return ",".join(entries).translate(_BLANKS)  # no part of one holds any


def _is_entry(text: str) -> bool:
    entry, *properties = (part.strip(" \t") for part in text.split(";"))
    return _ENTRY.fullmatch(entry) is not None and all(map(_PROPERTY.fullmatch, properties))


def _members(text: str) -> list[str]:
    """The members of a list; empty ones count for nothing, as in every list of HTTP (RFC 9110 section 5.6.1)."""
    return [stripped for member in text.split(",") if (stripped := member.strip(" \t"))]
