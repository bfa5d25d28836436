"""The operator's own proxy, where this machine reaches registries only through one.

- It is read from the operator's environment, outside the walls; what fetches never hears of it.
- The names that may be reached are the same with it and without it. Where a name leads is then the proxy's knowledge:
  an address cannot be judged here, and the operator who set the proxy is believed.
- One `CONNECT` for each connection; whatever the proxy says but 200 is a host that cannot be reached.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

from sekisho.egress import Outlet, Target
from sekisho.errors import Misconfigured, Refused, Unavailable
from sekisho.policy import LOCALHOST, Address, NetworkGrant, permits

__all__ = ["ForwardProxy", "ProxiedOutlet", "read_proxy"]

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[Address]]]

OPENING_S: Final = 15.0
MAX_HEAD_BYTES: Final = 16 << 10
_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXEMPTIONS: Final = ("no_proxy", "NO_PROXY")
_OPENED: Final = re.compile(rb"HTTP/1\.[01] 200[ \r]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardProxy:
    """Where it listens, what it is told of us, and the hosts it is not asked for."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)
    exempt: tuple[str, ...] = ()

    def is_for(self, host: str) -> bool:
        """Is this host reached through the proxy? This machine never is."""
        if host == LOCALHOST or "*" in self.exempt:
            return False
        return not any(host == one or host.endswith(f".{one}") for one in self.exempt)


def read_proxy(environment: Mapping[str, str]) -> ForwardProxy | None:
    """The proxy that this environment names for HTTPS.

    Raises:
        Misconfigured: it names one that cannot be used.
    """
    text = next((environment[name] for name in _VARIABLES if environment.get(name)), "")
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname:
        raise Misconfigured(
            "config_invalid",
            "the proxy that the environment names for HTTPS cannot be used",  # its URL may hold a password
            remedy="set HTTPS_PROXY to a URL like http://proxy.example.com:3128",
        )
    named = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    exempt = next((environment[name] for name in _EXEMPTIONS if environment.get(name)), "")
    return ForwardProxy(
        host=parts.hostname,
        port=port,
        authorization=base64.b64encode(named.encode()).decode() if named else None,
        exempt=tuple(one.strip().lstrip(".").lower() for one in exempt.split(",") if one.strip()),
    )


class ProxiedOutlet(Outlet):
    """Opens what a grant permits: through the proxy, or as ever where the proxy is not asked."""

    def __init__(
        self,
        network: NetworkGrant,
        proxy: ForwardProxy,
        *,
        resolve: Resolve,
        is_allowed_address: Callable[[Address], bool] | None = None,
    ) -> None:
        super().__init__(network, resolve=resolve, is_allowed_address=is_allowed_address)
        self._grant = network
        self._proxy = proxy

    async def open(self, target: Target) -> socket.socket:
        """A connected, non-blocking socket to the target.

        Raises:
            Refused: the name or the port is not allowed.
            Unavailable: the proxy does not answer, or not with a connection.
        """
        if not self._proxy.is_for(target.host):
            return await super().open(target)
        if not permits(self._grant, target.host, target.port):
            raise Refused("egress_refused", "the host or port is not on the allow-list")
        try:
            async with asyncio.timeout(OPENING_S):
                return await self._through(target)
        except (OSError, TimeoutError) as error:
            raise Unavailable("plugin_unavailable", "the host cannot be reached") from error

    async def _through(self, target: Target) -> socket.socket:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._proxy.host, self._proxy.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            await loop.sock_sendall(sock, self._request(target))
            await _read_answer(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _request(self, target: Target) -> bytes:
        where = f"{target.host}:{target.port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if self._proxy.authorization is not None:
            lines.append(f"Proxy-Authorization: Basic {self._proxy.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _read_answer(sock: socket.socket) -> None:
    """Read the head of the proxy's answer and not one byte more: what follows belongs to the host."""
    loop = asyncio.get_running_loop()
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(sock, 1)
        head += byte
        if not byte or len(head) > MAX_HEAD_BYTES:
            raise ConnectionError("the proxy gave no answer")
    if not _OPENED.match(head):
        raise ConnectionError("the proxy refused")
