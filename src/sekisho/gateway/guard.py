"""Host and Origin: a web page must not reach the gateway through a name it controls (DNS rebinding).

Pure. A request is let in when its Host names this gateway (the bound address, loopback names when bound to loopback,
or a configured name) and its Origin, if a browser sent one, is allowed. MCP 2025-11-25 transports: invalid Origin → 403.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from sekisho.errors import Refused

__all__ = ["check_origin", "loopback_names"]


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
    host = _without_port(headers.get("host", ""))
    if host not in hosts:
        raise Refused("origin_refused", "the Host header does not name this gateway")
    origin = headers.get("origin")
    if origin is None or origin in origins:
        return
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or _without_port(parts.netloc.lower()) not in hosts:
        raise Refused("origin_refused", "requests from this web origin are not allowed")


def _without_port(netloc: str) -> str:
    text = netloc.lower()
    if text.startswith("["):
        return text[: text.find("]") + 1]
    return text.partition(":")[0]
