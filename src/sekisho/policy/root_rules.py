"""Whether what a call names lies within a plugin's roots: judged before the call leaves the core.

- Every text anywhere in the arguments, keys too, that names a place (`named_places`) must name one within a root.
- A path lies within a root when it does part by part, dots resolved, whichever slash parts it; a home, a Windows path
  and a path with a NUL lie in none. A relative path lies where the plugin is, unless it climbs above its start.
- An address lies within a root when its scheme, host and port are the root's and its path lies below the root's. A user
  before the host, a backslash, an IP address or an odd spelling lies in none. `ws` and `wss` count as their HTTP.
- A scheme that is no place of the world (`memo://x`) lies in none either, unless the caller knows it for the plugin's
  own.

Links inside a root are the wall's business, and what a name leads to is the egress gate's: this stops what a plugin
that believes its arguments could be talked into, and says so to the caller before anything happens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from sekisho.errors import Refused
from sekisho.policy.hosts import canonical_host
from sekisho.policy.named_places import Hint, climbs, is_json, is_scheme, may_name_place, named_places
from sekisho.policy.roots import PORTS, Root

__all__ = ["RootRules", "hint_of_name", "hints_of_schema"]

Offers = Callable[[str], bool]

MAX_PATH_CHARS: Final = 4096  # PATH_MAX: no kernel opens what is longer
MAX_LOOKS: Final = 2_000  # texts of one call that may name a place; each costs some microseconds
# Addresses of one call that are no place of the world: whether a template of the plugin makes one costs up to 4 ms.
MAX_OWN: Final = 100
# Characters of one call that are read as places, lists of them, patterns or escapes: a thousand cost up to a millisecond.
MAX_READ_CHARS: Final = 1 << 20
MAX_SCHEMA_DEPTH: Final = 32
_WORLD: Final = frozenset(
    ("file", "http", "https", "ws", "wss", "ftp", "ftps", "sftp", "gopher", "jar", "url")
)
_AS_HTTP: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_PATH_WORDS: Final = re.compile(
    r"(?:path|file|dir|folder)s?|(?:file|dir|path)(?:name|path)s?|director(?:y|ies)|cwd"
)
_ADDRESS_WORDS: Final = re.compile(r"(?:url|uri|iri|host|hostname)s?|href|webhook")
_FORMATS: Final[Mapping[str, Hint]] = {
    "uri": "address",
    "iri": "address",
    "url": "address",
    "hostname": "address",
    "idn-hostname": "address",
    "path": "path",
    "file-path": "path",
    "directory-path": "path",
}
_SHOWN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _nothing_own(_uri: str) -> bool:
    return False


class RootRules:
    """The roots of one plugin, ready to judge its calls."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._folders = tuple(_parts(root.path) for root in roots if root.path is not None)
        self._sites: dict[tuple[str, str, int], list[tuple[str, ...]]] = {}
        for root in roots:
            if root.origin is not None:
                self._sites.setdefault(root.origin, []).append(root.segments)
        self._hints: dict[str, Mapping[str, Hint]] = {}

    def check_arguments(
        self,
        arguments: object,
        *,
        definition: str = "",
        schema: Callable[[], object] | None = None,
        offers: Offers = _nothing_own,
    ) -> None:
        """Raise Refused (`root_refused`) when something in the arguments names a place outside.

        Args:
            definition: names the schema, which is looked at once.
            offers: whether a URI is one of the plugin's own resources.
        """
        hints = self._hints.get(definition)
        if hints is None:
            hints = self._hints[definition] = {} if schema is None else hints_of_schema(schema())
        left = MAX_LOOKS
        own, effort = _Counted(offers), _Effort()
        for key, text, hint in _texts(arguments, "", "", hints):
            if not hint and not may_name_place(text):
                continue
            left -= 1
            if left < 0:
                raise Refused("root_refused", f"the arguments name more than {MAX_LOOKS} places")
            if not self._is_within(text, hint, own.offers, effort):
                raise _refused(f"argument {key!r}" if _SHOWN.fullmatch(key) else "an argument")

    def check_resource(self, uri: str) -> None:
        """Raise Refused (`root_refused`) for the URI of a resource outside; a plugin's own schemes name no place."""
        scheme = uri.partition(":")[0].strip().lower()
        is_own = is_scheme(uri) and scheme not in _WORLD and not _any_climbs(uri)
        if not is_own and not self._is_within(uri, "", _nothing_own, _Effort()):
            raise _refused("the resource")

    def _is_within(self, text: str, hint: Hint, offers: Offers, effort: _Effort) -> bool:
        for kind, place in named_places(text, hint, effort.spend):
            if kind == "path" and not self._holds_path(place):
                return False
            if kind == "address" and not (self._holds_address(place) or _is_own(text, place, offers)):
                return False
        return True

    def _holds_path(self, text: str) -> bool:
        if "\0" in text or ("{" in text and "," in text and climbs(text) and not is_json(text)):
            return False  # what stands in braces may be nothing, or several folders: how far it climbs is not known
        if not text.startswith("/"):
            return climbs(text) and not _leaves_start(text) and text[:1] not in "~$%\\" and text[1:2] != ":"
        for slashes in (r"/", r"[\\/]"):
            parts = _resolved(re.split(slashes, text))
            if sum(map(len, parts)) + len(parts) > MAX_PATH_CHARS:
                continue
            if not any(parts[: len(folder)] == folder for folder in self._folders):
                return False
        return True

    def _holds_address(self, text: str) -> bool:
        scheme, _, rest = text.partition(":")
        scheme = scheme.lower()
        if scheme == "file" and is_scheme(text):
            authority, path = _authority(rest) if rest.startswith("//") else ("", rest)
            is_here = authority.lower() in ("", "localhost") and "\\" not in rest
            # Who reads addresses as browsers do starts at the top, whether a slash stands there or not.
            return is_here and (path.startswith("/") or not climbs(path)) and self._holds_path("/" + path)
        if scheme in _AS_HTTP and is_scheme(text):
            return rest.startswith("//") and self._holds_site((_AS_HTTP[scheme],), rest)
        if is_scheme(text):
            return scheme == "data"  # carries what it names
        return self._holds_site(("https", "http"), "//" + text.lstrip("/"))

    def _holds_site(self, schemes: tuple[str, ...], rest: str) -> bool:
        authority, path = _authority(rest)
        host, colon, digits = authority.partition(":")
        if colon and not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
            return False
        try:
            name = canonical_host(host)
        except Refused:
            return False
        below = [part for part in re.split(r"[?#]", path)[0].split("/") if part]
        for scheme in schemes:
            for segments in self._sites.get((scheme, name, int(digits) if colon else PORTS[scheme]), ()):
                if not segments or (
                    tuple(below[: len(segments)]) == segments and not _any_climbs("/".join(below))
                ):
                    return True
        return False


class _Counted:
    """The question whether a URI is the plugin's own, put so often and not more."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._known: dict[str, bool] = {}

    def offers(self, uri: str) -> bool:
        """Raise Refused (`root_refused`) when too many were asked about."""
        known = self._known.get(uri)
        if known is None:
            if len(self._known) >= MAX_OWN:
                raise Refused("root_refused", f"the arguments name more than {MAX_OWN} resources")
            known = self._known[uri] = self._offers(uri)
        return known


class _Effort:
    """How much of one call may be read in ways that cost more than a look."""

    def __init__(self) -> None:
        self._left = MAX_READ_CHARS

    def spend(self, chars: int) -> None:
        """Raise Refused (`root_refused`) when nothing is left."""
        self._left -= chars
        if self._left < 0:
            raise Refused(
                "root_refused",
                f"more than {MAX_READ_CHARS} characters of the arguments may name places; send less in one call",
            )


def hint_of_name(name: str) -> Hint:
    """What the name of a property says of its value: the last of its words, as in `base_url` and `filePath`."""
    words = _WORDS.findall(name)
    last = words[-1].lower() if words else ""
    return "path" if _PATH_WORDS.fullmatch(last) else "address" if _ADDRESS_WORDS.fullmatch(last) else ""


def hints_of_schema(schema: object) -> Mapping[str, Hint]:
    """What the formats of a JSON Schema say of the properties that have them, by name."""
    found: dict[str, Hint] = {}
    _gather(schema, "", found, 0)
    return found


def _gather(schema: object, name: str, found: dict[str, Hint], depth: int) -> None:
    if depth > MAX_SCHEMA_DEPTH:
        return
    if isinstance(schema, list):
        for one in schema:
            _gather(one, name, found, depth + 1)
    if not isinstance(schema, dict):
        return
    form = schema.get("format")
    if name and isinstance(form, str) and form in _FORMATS:
        found[name] = _FORMATS[form]
    for key, value in schema.items():
        if key in ("properties", "patternProperties") and isinstance(value, dict):
            for member, inner in value.items():
                _gather(inner, member, found, depth + 1)
        else:
            _gather(value, name, found, depth + 1)


def _texts(value: object, key: str, top: str, hints: Mapping[str, Hint]) -> Iterator[tuple[str, str, Hint]]:
    """Every text with the argument it stands in and what is known of it. Depth was judged with the message."""
    if isinstance(value, str):
        yield top, value, hints.get(key) or hint_of_name(key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield top or name, name, ""
            yield from _texts(inner, name, top or name, hints)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key, top, hints)


def _is_own(text: str, reading: str, offers: Offers) -> bool:
    """One of the plugin's own resources; what the world knows too is never its own, in no reading."""
    scheme = text.partition(":")[0].lower()
    is_alike = is_scheme(text) and reading.lower().startswith(scheme + ":")
    return is_alike and scheme not in _WORLD and not _any_climbs(text) and offers(text)


def _authority(rest: str) -> tuple[str, str]:
    """`//host:1/path` in two."""
    found = re.match(r"//([^/?#]*)(.*)", rest, re.DOTALL)
    return (found[1], found[2]) if found else ("", rest)


def _any_climbs(text: str) -> bool:
    return any(climbs("/" + place) for _, place in named_places("/" + text.lstrip("/"), "path"))


def _parts(path: str) -> tuple[str, ...]:
    return _resolved(path.split("/"))


def _resolved(parts: Sequence[str]) -> tuple[str, ...]:
    """Dots taken out, as text; above the top there is only the top."""
    kept: list[str] = []
    for part in parts:
        match part.partition(";")[0].strip():
            case "" if not part:
                pass
            case ".":
                pass
            case "..":
                del kept[-1:]
            case _:
                kept.append(part)
    return tuple(kept)


def _leaves_start(text: str) -> bool:
    """Whether a relative path is ever above where it starts."""
    depth = 0
    for part in re.split(r"[\\/]", text):
        name = part.partition(";")[0].strip()
        depth += -1 if name == ".." else 1 if name not in ("", ".") else 0
        if depth < 0:
            return True
    return False


def _refused(what: str) -> Refused:
    return Refused("root_refused", f"{what} names a place outside the plugin's roots")
