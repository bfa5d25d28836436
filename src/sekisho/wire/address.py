"""Where a plugin server listens: a TCP port or a Unix socket.

Guarantees that an address is one of exactly two spellings; there is no plain-text form, because both run
the same TLS. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sekisho.errors import Misconfigured

__all__ = ["Address", "TcpAddress", "UnixAddress", "parse_address"]

MAX_UNIX_PATH_BYTES: Final = 107  # sun_path of Linux, with its terminating zero
DEFAULT_PORT: Final = 8443


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A host and port; port 0 lets the system choose when listening."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not self.host or not 0 <= self.port <= 65535:
            raise _not_an_address(f"{self.host}:{self.port}")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    """The path of a Unix socket."""

    path: str

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or "\0" in self.path:
            raise _not_an_address(f"unix:{self.path}")
        if len(self.path.encode()) > MAX_UNIX_PATH_BYTES:
            raise Misconfigured(
                "config_invalid",
                f"the socket path {self.path} is too long",
                remedy="choose one of up to 107 bytes",
            )

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Read `https://host[:port]` or `unix:/path`."""
    if text.startswith("unix:"):
        return UnixAddress(path=text.removeprefix("unix:"))
    try:
        parts = urlsplit(text)
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise _not_an_address(text) from error
    extras = parts.username or parts.password or parts.query or parts.fragment or parts.path.rstrip("/")
    if parts.scheme != "https" or not parts.hostname or extras:
        raise _not_an_address(text)
    return TcpAddress(host=parts.hostname, port=port)


def _not_an_address(text: str) -> Misconfigured:
    return Misconfigured(
        "config_invalid",
        f"{text[:300]!r} is no plugin server address",
        remedy="write https://host:port or unix:/path",
    )
