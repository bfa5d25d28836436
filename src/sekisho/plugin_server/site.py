"""Where a plugin at a URL lives, and the only way to open a connection to it.

Guarantees
- the URL has a scheme of HTTP, a host and a path, and neither user nor fragment;
- a name leads only to public addresses that are not this machine's own (`egress.Outlet` judges, and dials the address it
  judged), unless the operator says that this server lives in a private network; an address or `localhost` that the
  operator wrote is what he meant;
- TLS is 1.2 or newer, and the certificate is checked against the system's authorities or the one configured, and names
  this host;
- what a server names as its own further address is of the same origin.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from sekisho.egress import Outlet, SystemResolver, Target, dial_address
from sekisho.errors import Misconfigured, RemoteProtocolError
from sekisho.policy import LOCALHOST, Address, NetworkGrant

__all__ = ["Doorway", "Site", "trusting"]

MAX_REFERENCE_CHARS: Final = 4096
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One URL, in the parts a request needs."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @classmethod
    def parse(cls, url: str) -> Site:
        """Read a URL; raises `Misconfigured`."""
        parts = _split(url)
        if parts is None:
            raise Misconfigured(
                "config_invalid",
                f"{url!r} is not the URL of an MCP server",
                remedy="write http(s)://host:port/path",
            )
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or _PORTS[parts.scheme],
            authority=parts.netloc,
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def at(self, reference: str) -> Site:
        """Another address of this server, as the server names it.

        Raises:
            RemoteProtocolError: `plugin_protocol`; it is somewhere else, or no address at all.
        """
        is_plain = reference.isascii() and reference.isprintable() and len(reference) <= MAX_REFERENCE_CHARS
        try:
            parts = _split(urljoin(self.url, reference)) if is_plain and "\\" not in reference else None
        except ValueError:
            parts = None
        if parts is None:
            raise RemoteProtocolError("plugin_protocol", "the MCP server names an endpoint that is no URL")
        there = Site.parse(parts.geturl())
        if (there.scheme, there.host, there.port) != (self.scheme, self.host, self.port):
            raise RemoteProtocolError("plugin_protocol", "the MCP server names an endpoint of another origin")
        return there


class Doorway:
    """Opens connections to one site."""

    def __init__(
        self,
        site: Site,
        *,
        may_be_private: bool = False,
        resolve: Callable[[str], Awaitable[Sequence[Address]]] | None = None,
    ) -> None:
        self._site = site
        self._address = _literal(site.host)
        self._resolver = SystemResolver()
        self._outlet: Outlet | None = None
        if self._address is None:
            network = (
                NetworkGrant(allow_localhost=True, localhost_ports=(site.port,))
                if site.host == LOCALHOST
                else NetworkGrant(allowed_domains=(site.host,), allowed_ports=(site.port,))
            )
            self._outlet = Outlet(
                network,
                resolve=resolve or self._resolver,
                is_allowed_address=_anywhere if may_be_private else None,
            )

    async def open(self) -> socket.socket:
        """A connected socket; raises `SekishoError` or `OSError`."""
        if self._outlet is not None:
            return await self._outlet.open(Target(host=self._site.host, port=self._site.port))
        if self._address is None:
            raise OSError("no address")
        return await dial_address(self._address, self._site.port)

    def close(self) -> None:
        """Nothing is opened any more."""
        self._resolver.close()


def trusting(ca_path: Path | None) -> ssl.SSLContext:
    """A context that trusts this authority, or the system's."""
    try:
        context = ssl.create_default_context(cafile=None if ca_path is None else str(ca_path))
    except OSError as error:  # an SSLError is one too
        raise Misconfigured(
            "key_unavailable",
            f"the authority of the plugin's URL cannot be read: {ca_path}",
            remedy="let upstream_ca_path name a PEM file",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.fragment or port == 0:
        return None
    return parts


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _anywhere(address: Address) -> bool:
    del address
    return True
