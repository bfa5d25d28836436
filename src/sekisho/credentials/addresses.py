"""Which URLs may be asked, and which of them belong to a resource. Judgement only: no name is resolved here.

Guarantees
- a URL has a scheme, a host and a path, and neither user, fragment, backslash, blank nor control character;
- plain HTTP is for loopback, spelled as an address or as `localhost`; everything else is HTTPS;
- a resource covers a URL of its own origin whose path begins with its path at a whole segment.

Knows nothing of addresses behind names; `fetch` judges those.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from sekisho.errors import Refused

__all__ = ["checked_url", "covers", "inserted", "is_loopback_host", "origin_of"]

MAX_URL_CHARS: Final = 2048  # of what a stranger names
_SAFE: Final = re.compile(r"[!$-;=?-\[\]_a-z~]+")  # RFC 3986 characters, less `#`, quotes and backslash
_PORTS: Final = {"https": 443, "http": 80}


def checked_url(text: str, what: str = "the address") -> SplitResult:
    """The parts of a URL that may be asked; raises `Refused`."""
    if not text or len(text) > MAX_URL_CHARS or not _SAFE.fullmatch(text):
        raise _refused(what, "is no plain URL")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _refused(what, "is no plain URL") from error
    host = parts.hostname
    if not host or "@" in parts.netloc or port == 0:
        raise _refused(what, "is no plain URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback_host(host)):
        raise _refused(what, "is not HTTPS")
    return parts


def is_loopback_host(host: str) -> bool:
    """True for a literal loopback address and for `localhost`; other names may lead anywhere."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port, the port stated."""
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def covers(resource: str, url: str) -> bool:
    """True if `url` lies in `resource`: the same origin, and its path or one below it."""
    try:
        outer, inner = checked_url(resource), checked_url(url)
    except Refused:
        return False
    if origin_of(outer) != origin_of(inner) or outer.query:
        return False
    if ".." in inner.path.split("/"):
        return False
    prefix = outer.path.rstrip("/")
    return inner.path in (prefix, prefix + "/") or inner.path.startswith(prefix + "/")


def inserted(parts: SplitResult, well_known: str, *, with_path: bool) -> str:
    """The well-known URL of RFC 8615 form: the suffix between origin and path."""
    path = parts.path.rstrip("/") if with_path else ""
    return f"{parts.scheme}://{parts.netloc}/.well-known/{well_known}{path}"


def _refused(what: str, why: str) -> Refused:
    return Refused("authorization_failed", f"{what} {why}")
