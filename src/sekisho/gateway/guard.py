"""Host and Origin: a web page must not reach the gateway through a name it controls (DNS rebinding).

Pure. A request is let in when its Host names this gateway (the bound address, loopback names when bound to loopback,
or a configured name) and its Origin, if a browser sent one, is allowed. MCP 2025-11-25 transports: invalid Origin → 403.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sekisho.errors import Refused

__all__ = ["check_host", "check_origin", "loopback_names"]

# Whole-string grammars: a reader that looks for the first colon takes `localhost:1@evil.example` for localhost.
_NETLOC: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(r"https?://(.+)")


def loopback_names() -> frozenset[str]:
    """The names by which a client on this machine reaches a loopback listener."""
    return frozenset({"127.0.0.1", "localhost", "[::1]"})


def check_origin(headers: Mapping[str, str], hosts: frozenset[str], origins: frozenset[str]) -> None:
    """Refuse a request whose Host or Origin is not ours.

    Args:
        headers: lower-case names.
        hosts: host names without port that name this gateway.
        origins: further origins (scheme://host[:port]) that may call from a browser.
    """
    check_host(headers, hosts)
    origin = headers.get("origin")
    if origin is None or origin in origins:
        return
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None or not _names_us(match[1], hosts):
        raise Refused("origin_refused", "requests from this web origin are not allowed")


def check_host(headers: Mapping[str, str], hosts: frozenset[str]) -> None:
    """Refuse a request whose Host is not ours; for what any web page may read."""
    if not _names_us(headers.get("host", ""), hosts):
        raise Refused("origin_refused", "the Host header does not name this gateway")


def _names_us(netloc: str, hosts: frozenset[str]) -> bool:
    match = _NETLOC.fullmatch(netloc.lower())
    return match is not None and match[1] in hosts
