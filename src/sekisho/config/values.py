"""Kinds of values that several tables share: addresses, operation names, environment names, secret names.

Guarantees that an address is one that can be bound or dialled without a resolver's guess, and that no message
here repeats a value that may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sekisho.config.field import Kind, Wrong, choice, described, judged, listed, text
from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants
from sekisho.protocol import TRACE_NAMES, plugin_name

__all__ = [
    "BindAddress",
    "bind_address",
    "check_pair",
    "client_requests",
    "command_words",
    "environment_name",
    "extension_name",
    "is_secret_name",
    "name_kind",
    "operation",
    "resource_name",
    "trace_names",
    "web_address",
]

_OPERATION: Final = r"[A-Za-z0-9_.-]{1,128}"  # the tool name rule of MCP 2025-11-25
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")
_SECRET_NAME: Final = re.compile(r"token|secret|passw|passphrase|credential|key", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; port 0 lets the kernel choose."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can connect."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, value: str) -> BindAddress:
        """Read `host:port`; raises Misconfigured."""
        found = _ADDRESS.fullmatch(value)
        if not found or int(found[3]) > 65535:
            raise Wrong(f"is {described(value)}")
        host = found[1] or found[2]
        if found[1] and not _is_address(host):
            raise Wrong(f"is {described(value)}")
        return cls(host, int(found[3]))


def is_loopback(host: str) -> bool:
    """True for a loopback address or the name localhost."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def bind_address(*, may_be_off: bool = False) -> Kind[BindAddress | None]:
    """An address to listen on, or the word `off` where listening is a choice."""

    def read(value: object, _folder: Path) -> BindAddress | None:
        if may_be_off and value == "off":
            return None
        if not isinstance(value, str):
            raise Wrong(f"is {described(value)}")
        return BindAddress.parse(value)

    expected = "host:port, for example 127.0.0.1:8080"
    return Kind("address", expected + (', or "off"' if may_be_off else ""), read)


def check_pair(certificate: Path | None, key: Path | None) -> None:
    """A certificate is of no use without its key, nor the key without it."""
    if (certificate is None) != (key is None):
        given, absent = (
            ("tls_cert_path", "tls_key_path") if certificate else ("tls_key_path", "tls_cert_path")
        )
        raise Wrong(f"stands without {absent}; expected both or neither", remedy=f"add {absent}", key=given)


def web_address(*schemes: str, with_path: bool) -> Kind[str]:
    """A URL with a host, without user, query or fragment; `unix:/path` where the scheme unix is allowed."""

    def read(value: object, _folder: Path) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise Wrong(f"is {described(value)}")
        if "unix" in schemes and re.fullmatch(r"unix:/[^\0?#]+", value):
            return value
        if not _is_web_address(value, schemes, with_path=with_path):
            # A URL may carry a password; it is not repeated.
            raise Wrong("is not an address that can be called")
        return value

    shapes = [f"{one}:/path" if one == "unix" else f"{one}://host:port" for one in schemes]
    return Kind("URL", " or ".join(shapes) + (" with a path" if with_path else ""), read)


def _is_web_address(value: str, schemes: tuple[str, ...], *, with_path: bool) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in schemes or not parts.hostname or port == 0 or "@" in parts.netloc:
        return False
    if "?" in value or "#" in value or any(one.isspace() for one in value) or "\\" in value:
        return False
    return with_path or parts.path in ("", "/")


def operation() -> Kind[str]:
    """The exact name of one tool; patterns are not names."""
    return text(_OPERATION, "the exact name of a tool")


def command_words() -> Kind[tuple[str, ...]]:
    """A program and its arguments; a list, never a line for a shell."""

    def read(value: object, _folder: Path) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise Wrong(f"is {described(value)}" if value != [] else "is empty")
        if not value[0] or any("\0" in one for one in value):
            raise Wrong("names no program, or holds a NUL character")
        return tuple(value)

    return Kind("list of text", 'a list of words such as ["/usr/bin/node", "server.js"]', read)


def client_requests() -> Kind[tuple[str, ...]]:
    """What a plugin may ask of clients: a form, a visit to a page, its roots, or a text of the client's own model."""
    return listed(choice("elicitation", "elicitation-url", "roots", "sampling"))


def trace_names() -> Kind[tuple[str, ...]]:
    """Headers of W3C Trace Context and Baggage."""
    return listed(choice(*TRACE_NAMES))


def resource_name() -> Kind[str]:
    """The URI of a resource, or the beginning of one and a star."""
    return text(r"[^*\s]+\*?", 'a URI, or its beginning and "*"')


def extension_name() -> Kind[str]:
    """The identifier of an extension of MCP: a prefix, a slash, a name."""
    return text(
        r"[A-Za-z0-9]([A-Za-z0-9.-]{0,126}[A-Za-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?",
        "an identifier such as io.modelcontextprotocol/ui",
    )


def name_kind() -> Kind[str]:
    """The name of a plugin, as used in prefixes, files and certificates."""

    def judge(value: str) -> None:
        try:
            plugin_name(value)
        except Misconfigured as problem:
            raise Wrong(f"is {described(value)}", remedy=problem.remedy) from problem

    return judged(text(), judge, "a plugin name: small letters, digits and single hyphens, at most 32")


def environment_name() -> Kind[str]:
    """The name of a variable, never `NAME=value`: values do not stand in files."""

    def read(value: object, _folder: Path) -> str:
        if not isinstance(value, str):
            raise Wrong(f"is {described(value)}")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            raise Wrong(
                "is not the name of a variable", remedy="list names only; the value stays in the environment"
            )
        Grants(environment=(value,))
        return value

    return Kind(
        "variable name", "the name of a variable that sekisho passes on from its own environment", read
    )


def is_secret_name(name: str) -> bool:
    """True when the value under this name is not shown to anybody."""
    return _SECRET_NAME.search(name) is not None
