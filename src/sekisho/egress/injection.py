"""Secrets in requests: the placeholder a plugin was given goes in, the value goes out, to the hosts that were named.

- A placeholder is replaced only in a request to a host of that secret, over TLS unless the host was written with
  `http://`, and only where the grant says: in header values (inside `Basic` credentials too), in the query, in the path.
- In a URL the value is percent-encoded, so it stays one part of it. A value that is not one line of printable ASCII is
  refused before it is ever used: it could end a header line and begin another.
- Whatever else would leave with a placeholder in it is refused: another host, a header of another plugin's secret, a
  body, a name, letters in another case, percent-encoding. A body is content, which hosts publish: no secret goes there.
- An answer of a host that may hold a secret is asked for whole, without compression and in no other alphabet, so that
  `masking` can read it.

Judgement only. What an answer reveals is `masking`'s subject; a placeholder in a form that is not known here (encrypted,
compressed) is not seen, and carries nothing: it is worth nothing outside.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

from sekisho.egress.tunnel import ProxyRequest, Target
from sekisho.errors import Misconfigured, Refused
from sekisho.policy.secrets import Place, SecretGrant

__all__ = ["Injection", "PlaceholderWatch", "Planted", "Prepared", "names_placeholder", "placeholder"]

PLACEHOLDER_PREFIX: Final = "sekisho-secret-"
RANDOM_BYTES: Final = 20  # 160 bits, 32 characters of base32: nobody guesses one
_PLACEHOLDER: Final = re.compile(rb"sekisho-secret-[a-z2-7]{32}")
# The same as a careless host may read it, in lower-case letters: each character as it is, percent-encoded, or that again.
_DISGUISED: Final = re.compile(
    b"".join(
        rb"(?:%s|%%(?:25)?(?:%02x|%02x))" % (re.escape(one), ord(one), ord(one.upper()))
        for one in (
            PLACEHOLDER_PREFIX[index : index + 1].encode() for index in range(len(PLACEHOLDER_PREFIX))
        )
    )
    + rb"(?:[a-z2-7]|%(?:25)?(?:[46][1-9a-f]|[57][0-9a]|3[2-7])){32}"
)
_LONGEST_DISGUISE: Final = (len(PLACEHOLDER_PREFIX) + 32) * len("%2573")
_BASIC: Final = re.compile(rb"(authorization: basic[ \t]+)([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
# A plugin that chose the bytes of an answer, or how they are written, could have a secret told in pieces. A host may
# ignore each of these, so a client has to be content without.
_SHAPES_ANSWER: Final = (
    b"accept-encoding:", b"accept-charset:", b"x-accept-charset:", b"range:", b"request-range:", b"if-range:", b"a-im:",
)  # fmt: skip
_ALPHABET: Final = re.compile(rb';[ \t]*charset[ \t]*=[ \t]*(?:"[^"]*"|[^,;" \t]*)', re.IGNORECASE)
_VALUE: Final = re.compile(r"[!-~](?:[ -~]{0,8190}[!-~])?")  # longer than any header line a host takes
# Below this a value may be a word that also stands in answers for other reasons. Masking it would change them, and
# tell the plugin, which word was masked, what the secret is.
MIN_MASKED_CHARS: Final = 16

# What encoders leave as it is in an address: RFC 3986, Python, encodeURIComponent, encodeURI.
_SAFE_IN_URLS: Final = ("", "/", "!'()*", "!'()*;/?:@&=+$,#")
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
# What they write as a number, and how: nothing, Go, PHP, .NET; in HTML nothing, Python, PHP, templates, Go, Handlebars.
_IN_JSON: Final = (("", ""), ("<>&", "\\u%04x"), ("<>&'", "\\u%04X"), ("<>&'+`\"", "\\u%04X"))
_IN_HTML: Final = (
    *(("", ""), ("'", "&#x%x;"), ("'", "&#0%d;"), ("'", "&#%d;")),
    *(("\"'", "&#%d;"), ("\"'+", "&#%d;"), ("'`=", "&#x%X;")),
)
_WIDE: Final = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_JSON_NAMES: Final = {"\\": "\\\\", '"': '\\"'}
_HTML_NAMES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def placeholder(random: bytes) -> str:
    """What stands for one secret in one sandbox, made of `RANDOM_BYTES` fresh random bytes."""
    return PLACEHOLDER_PREFIX + base64.b32encode(random).decode("ascii").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One secret, its value, and the placeholder that stands for it."""

    grant: SecretGrant
    placeholder: bytes
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _VALUE.fullmatch(self.value):
            raise Misconfigured(
                "key_unavailable",
                f"the value at {self.grant.reference} cannot stand in a request",
                remedy="store one line of printable ASCII without blanks around it",
            )

    def is_for(self, target: Target, *, is_secure: bool) -> bool:
        """May this secret go to this host, on a connection of this kind?"""
        return any(
            (host.host, host.port, host.is_secure) == (target.host, target.port, is_secure)
            for host in self.grant.hosts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request as it goes out, and what its answer must not tell: bytes, each with what stands for them."""

    request: ProxyRequest = field(repr=False)
    masks: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)


class PlaceholderWatch:
    """Looks for placeholders in bytes that come in pieces."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """The same bytes; raises Refused when they complete a placeholder."""
        window = self._tail + data
        if _holds_placeholder(window):
            raise _refused("a placeholder stands in the content; a secret goes in headers or the query")
        self._tail = window[-_LONGEST_DISGUISE:]
        return data


class Injection:
    """The secrets of one sandbox."""

    def __init__(self, planted: Iterable[Planted]) -> None:
        self._planted = tuple(planted)

    def prepare(self, request: ProxyRequest, *, is_secure: bool) -> Prepared:
        """The request with values in place of placeholders.

        Raises:
            Refused: `secret_refused`; a placeholder stands where it must not.
        """
        usable = [one for one in self._planted if one.is_for(request.target, is_secure=is_secure)]
        line, *fields = request.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        blobs: list[tuple[bytes, bytes]] = []
        line = _in_line(line, usable)
        in_headers = _by_placeholder(usable, "headers")
        fields = [_in_field(one, in_headers, blobs) for one in fields]
        masks = _masks(usable, blobs)
        if masks:
            fields = [_without_alphabet(one) for one in fields if not one.startswith(_SHAPES_ANSWER)]
            fields.append(b"accept-encoding: identity")
        head = b"\r\n".join((line, *fields, b"", b""))
        if _holds_placeholder(head) or any(map(_holds_placeholder, map(_basic_content, fields))):
            raise _refused(
                "a placeholder stands where its secret does not go"
                if usable
                else "a placeholder was sent to a host that is not one of its secret's"
            )
        return Prepared(request=replace(request, head=head), masks=masks)


def names_placeholder(host: str) -> bool:
    """Does this host name hold a placeholder?"""
    return _holds_placeholder(host.encode("ascii", "replace"))


def _in_line(line: bytes, usable: Iterable[Planted]) -> bytes:
    method, target, version = line.split(b" ")
    path, mark, query = target.partition(b"?")
    path = _replaced(path, _quoted(_by_placeholder(usable, "path")))
    query = _replaced(query, _quoted(_by_placeholder(usable, "query")))
    return b" ".join((method, path + mark + query, version))


def _without_alphabet(line: bytes) -> bytes:
    """Some hosts write in the alphabet that stands beside a type in `accept`, as others do with `accept-charset`."""
    return _ALPHABET.sub(b"", line) if line.startswith(b"accept:") else line


def _in_field(line: bytes, values: Mapping[bytes, bytes], blobs: list[tuple[bytes, bytes]]) -> bytes:
    """One header line; what was sent as Basic credentials is noted in `blobs`, because a host may echo it whole."""
    content = _basic_content(line)
    if not content:
        name, colon, value = line.partition(b":")
        return name + colon + _replaced(value, values)
    put_in = _replaced(content, values)
    if put_in == content:
        return line
    name, sent, shown = line.partition(b":")[0], base64.b64encode(put_in), base64.b64encode(content)
    if all(len(value) >= MIN_MASKED_CHARS for key, value in values.items() if key in content):
        blobs.append((sent, shown))
    return name + b": Basic " + sent


def _basic_content(line: bytes) -> bytes:
    """What the Basic credentials of a header line say; empty when it holds none."""
    found = _BASIC.fullmatch(line)
    if found is None:
        return b""
    try:
        return base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return b""


def _by_placeholder(usable: Iterable[Planted], place: Place) -> dict[bytes, bytes]:
    return {one.placeholder: one.value.encode("ascii") for one in usable if place in one.grant.places}


def _quoted(values: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: quote(value, safe="").encode("ascii") for key, value in values.items()}


def _replaced(data: bytes, values: Mapping[bytes, bytes]) -> bytes:
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), data)


def _holds_placeholder(data: bytes) -> bool:
    """In any reading that a careless host may make of it: as it is, in capitals, percent-decoded once or twice."""
    lowered = data.lower()
    return (_DISGUISED if b"%" in lowered else _PLACEHOLDER).search(lowered) is not None


def _masks(usable: Iterable[Planted], blobs: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    found: dict[bytes, bytes] = dict(blobs)
    for one in usable:
        if len(one.value) >= MIN_MASKED_CHARS:
            found.update(dict.fromkeys(_spellings(one.value), one.placeholder))
    return tuple(found.items())


def _spellings(value: str) -> Iterable[bytes]:
    """How hosts write back what they were sent: as it is, in a URL, JSON, HTML, base64, hex digits, wide letters."""
    plain = value.encode("ascii")
    in_urls = [quote(value, safe=safe) for safe in _SAFE_IN_URLS]
    in_urls += [one.replace("%20", "+") for one in in_urls]
    in_urls += [_PERCENT.sub(lambda found: found[0].lower(), one) for one in in_urls]
    in_json = [_escaped(value, signs, form, _JSON_NAMES) for signs, form in _IN_JSON]
    in_json += [one.replace("/", "\\/") for one in in_json]
    in_html = [_escaped(value, signs, form, _HTML_NAMES) for signs, form in _IN_HTML]
    texts = (value, *in_urls, *in_json, *in_html, plain.hex(), plain.hex().upper())
    wide = (value.encode(alphabet) for alphabet in _WIDE)
    return (*(text.encode("ascii") for text in texts), *_in_base64(plain), *wide)


def _escaped(text: str, signs: str, form: str, names: Mapping[str, str]) -> str:
    return "".join(form % ord(one) if one in signs else names.get(one, one) for one in text)


def _in_base64(plain: bytes) -> Iterable[bytes]:
    """By itself; and within something longer, where what shares a digit with its neighbours is left out."""
    yield from (base64.b64encode(plain).rstrip(b"="), base64.urlsafe_b64encode(plain).rstrip(b"="))
    for ahead in range(3):
        whole = base64.b64encode(bytes(ahead) + plain).rstrip(b"=")
        inner = whole[ahead + (ahead > 0) : None if (ahead + len(plain)) % 3 == 0 else -1]
        yield from (inner, inner.translate(_URL_SAFE))


def _refused(reason: str) -> Refused:
    return Refused("secret_refused", reason)
