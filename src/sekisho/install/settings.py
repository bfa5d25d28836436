"""Where packages come from, and how much one may be.

Guarantees that the only way out of the room a package is fetched in is a grant for the registries named here, and
that nobody in between can change what they say: HTTPS, or this machine itself. Knows no socket: `stage` renders the
grant, and `outlet` the rule for addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from sekisho.errors import Misconfigured, Refused
from sekisho.install.package import Ecosystem
from sekisho.policy import LOCALHOST, NetworkGrant, canonical_host

__all__ = ["NPM_REGISTRY", "PYPI_INDEX", "InstallSettings", "check_registry"]

PYPI_INDEX: Final = "https://pypi.org/simple"
NPM_REGISTRY: Final = "https://registry.npmjs.org"
# PyPI's index names its files at a host of their own.
_FILE_HOSTS: Final = {"pypi.org": ("files.pythonhosted.org",)}
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSettings:
    """`hosts` are further hosts of files; `ca_path` the authority of their certificates, else the system's."""

    pypi_index: str = PYPI_INDEX
    npm_registry: str = NPM_REGISTRY
    hosts: tuple[str, ...] = ()
    allow_private_registry: bool = False
    ca_path: Path | None = None
    max_tree_mb: int = 1024
    max_files: int = 100_000
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for url in (self.pypi_index, self.npm_registry):
            check_registry(url)
            if urlsplit(url).hostname == LOCALHOST and not self.allow_private_registry:
                raise Misconfigured(
                    "config_invalid",
                    f"{url} is on this machine",
                    remedy="set install.allow_private_registry = true if that is meant",
                )

    def registry(self, ecosystem: Ecosystem) -> str:
        """The registry's URL, without a slash at its end."""
        return (self.npm_registry if ecosystem == "npm" else self.pypi_index).rstrip("/")

    def grant(self, ecosystem: Ecosystem) -> NetworkGrant:
        """The only hosts that may be reached while a package is fetched."""
        parts = urlsplit(self.registry(ecosystem))
        host, port = canonical_host(parts.hostname or ""), _port(parts)
        if host == LOCALHOST:
            return NetworkGrant(
                allowed_domains=self.hosts,
                allow_localhost=True,
                localhost_ports=(port,),
                allowed_ports=(443,),
            )
        hosts = (host, *_FILE_HOSTS.get(host, ()), *self.hosts)
        return NetworkGrant(
            allowed_domains=tuple(dict.fromkeys(hosts)), allowed_ports=tuple(dict.fromkeys((443, port)))
        )


def check_registry(url: str) -> None:
    """A registry is reached by name, over TLS unless it is on this machine.

    Raises:
        Misconfigured: otherwise.
    """
    try:
        parts = urlsplit(url)
        port = _port(parts)
        host = canonical_host(parts.hostname or "")
    except (ValueError, Refused):
        host, port = "", 0
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if not host or not port or not is_plain or parts.scheme not in _PORTS:
        raise Misconfigured(
            "config_invalid",
            "a registry is named by a URL with a host name, without user, query or fragment",
            remedy=f"write one such as {PYPI_INDEX}",
        )
    if parts.scheme == "http" and host != LOCALHOST:
        raise Misconfigured(
            "config_invalid",
            f"{url} is plain HTTP: whoever is in between could change the packages",
            remedy="write https://",
        )


def _port(parts: SplitResult) -> int:
    return _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
