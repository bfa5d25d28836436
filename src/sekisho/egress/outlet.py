"""The one place where a connection to the outside is opened.

- A permitted name is resolved once, on the host; every address that is not public, or is this machine's own,
  is dropped; the address that was checked is the address that is dialled, so a name cannot change in between.
- Only the first addresses of a name are judged, and the first of those that pass are dialled.
- `localhost` means loopback, and comes here only when policy granted it with its port.
- Resolving and dialling are bounded in time, and each plugin waits in its own queue for the resolver.

The resolver, the dialler and the address rule are arguments. Knows nothing of HTTP or TLS.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from sekisho.egress.routes import leads_away
from sekisho.egress.tunnel import Target
from sekisho.errors import Refused, Unavailable
from sekisho.policy import LOCALHOST, Address, NetworkGrant, carried_address, is_learned, is_public, permits

__all__ = ["Outlet", "SystemResolver", "dial_address", "is_outside"]

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[Address]]]
Dial: TypeAlias = Callable[[Address, int], Awaitable[socket.socket]]

RESOLVE_TIMEOUT_S: Final = 10.0
DIAL_TIMEOUT_S: Final = 10.0
MAX_ADDRESSES: Final = 4  # a name with hundreds of addresses must not make us knock on all of them
MAX_JUDGED: Final = 32  # or ask the kernel about thousands of them, while no gate answers
_RESOLVER_THREADS: Final = (
    2  # getaddrinfo cannot be cancelled; a slow name server holds only its own plugin up
)
_LOOPBACK: Final[tuple[Address, ...]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class SystemResolver:
    """Asks the host's resolver from threads of its own. Close it to let the threads end."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="egress-resolver")

    async def __call__(self, host: str) -> Sequence[Address]:
        """All stream addresses of a host, in the system's order of preference."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _getaddrinfo, host)
        return [ip_address(text) for text in dict.fromkeys(found)]

    def close(self) -> None:
        """Take no further question; a running one ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Outlet:
    """Opens connections for one plugin."""

    def __init__(
        self,
        network: NetworkGrant,
        *,
        resolve: Resolve,
        dial: Dial | None = None,
        is_allowed_address: Callable[[Address], bool] | None = None,
    ) -> None:
        self._network = network
        self._resolve = resolve
        self._dial = dial_address if dial is None else dial
        self._is_allowed_address = is_outside if is_allowed_address is None else is_allowed_address

    async def open(self, target: Target) -> socket.socket:
        """A connected, non-blocking socket to the target.

        Raises:
            Refused: the name, the port or every address of it is not allowed.
            Unavailable: it cannot be resolved or reached now.
        """
        if not permits(self._network, target.host, target.port):
            raise Refused("egress_refused", "the host or port is not on the allow-list")
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                addresses = await self._addresses(target.host)
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                return await self._dial_first(addresses, target.port)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise Unavailable("plugin_unavailable", "the host cannot be reached") from error

    def is_learned(self, target: Target) -> bool:
        """Is this permitted only because the grant is learning?"""
        return is_learned(self._network, target.host, target.port)

    async def _addresses(self, host: str) -> Sequence[Address]:
        if host == LOCALHOST:
            return _LOOPBACK
        found = (await self._resolve(host))[:MAX_JUDGED]
        allowed = [address for address in found if self._is_allowed_address(address)]
        if not allowed:
            raise Refused("egress_refused", "the name leads to an address that is not public")
        return allowed[:MAX_ADDRESSES]

    async def _dial_first(self, addresses: Sequence[Address], port: int) -> socket.socket:
        problem: OSError = OSError("no address")
        for address in addresses:
            try:
                return await self._dial(address, port)
            except OSError as error:
                problem = error
        raise problem


def is_outside(address: Address, is_away: Callable[[Address], bool] = leads_away) -> bool:
    """Is it a public address that does not belong to this machine, in itself or by the IPv4 address it carries?"""
    inner = carried_address(address)
    return is_public(address) and is_away(address) and (inner is None or is_away(inner))


async def dial_address(address: Address, port: int) -> socket.socket:
    """Connect to one address; nothing is looked up any more."""
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6


def _getaddrinfo(host: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
