"""Where the core listens: the port, the certificate shown there, and who else may take connections from it.

Guarantees that a port chosen freely is chosen again after a restart, that several workers share a port only among
themselves, and that a renewed certificate is shown without a restart. A port that somebody else listens on is
refused, although the kernel would let processes of one user share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sekisho.assembly.identities import front_id
from sekisho.assembly.places import Places
from sekisho.config import BindAddress, CoreServer
from sekisho.errors import Misconfigured
from sekisho.keys import KeyFolder, front_context

__all__ = ["FrontDoor", "listen_on"]

SHUTDOWN_S: Final = 2.0  # a client that does not say goodbye must not hold its connection
Factory = Callable[[], asyncio.BaseProtocol]


class FrontDoor:
    """The listener for clients, of one worker."""

    def __init__(
        self,
        server: CoreServer,
        keys: KeyFolder,
        places: Places,
        *,
        handshake_s: float,
        client_ca_path: Path | None = None,
    ) -> None:
        self._server = server
        self._handshake_s = handshake_s
        self._keys = keys
        self._places = places
        self._context = front_context(*self._files(), client_ca_path) if server.tls == "on" else None
        self._loaded = time.time()

    async def open(self, factory: Factory, *, shared: bool = False, is_ours: bool = False) -> int:
        """Listen; returns the port.

        Args:
            factory: Makes the protocol of each connection.
            shared: Other workers will listen there too.
            is_ours: They may already: the port is not taken by strangers.
        """
        address = self._server.bind_addr
        remembered = self._places.chosen_port()
        if address.port == 0 and remembered is not None:
            with contextlib.suppress(Misconfigured):  # taken meanwhile: choose another
                again = BindAddress(address.host, remembered)
                return await self._open_at(factory, again, shared=shared, is_ours=is_ours)
        port = await self._open_at(factory, address, shared=shared, is_ours=is_ours)
        if address.port == 0:
            self._places.remember_port(port)
        return port

    async def open_shared(self, factory: Factory, port: int) -> int:
        """Listen on a port that our other workers listen on; only processes of one user can."""
        address = BindAddress(self._server.bind_addr.host, port)
        return _port_of(
            await listen_on(factory, address, self._context, shared=True, handshake_s=self._handshake_s)
        )

    def port_without_leader(self) -> int | None:
        """The port, as far as it is known when nobody tells it."""
        return self._server.bind_addr.port or self._places.chosen_port()

    def url(self, port: int) -> str:
        """What a client on this machine connects to."""
        host = "127.0.0.1" if self._server.bind_addr.host == "0.0.0.0" else self._server.bind_addr.host
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._context is None else 'https'}://{host}:{port}/mcp"

    def take_up_renewal(self, now: float) -> None:
        """Show a certificate that was renewed since the last look."""
        if self._context is not None and self._files()[0].stat().st_mtime > self._loaded:
            self._loaded = now
            self._context.load_cert_chain(*self._files())

    async def _open_at(self, factory: Factory, address: BindAddress, *, shared: bool, is_ours: bool) -> int:
        if shared and not is_ours:
            _refuse_taken(address)
        return _port_of(
            await listen_on(factory, address, self._context, shared=shared, handshake_s=self._handshake_s)
        )

    def _files(self) -> tuple[Path, Path]:
        server = self._server
        if server.tls_cert_path is not None and server.tls_key_path is not None:
            return server.tls_cert_path, server.tls_key_path
        identity = self._keys.identity(front_id(server.trust_domain))
        return identity.cert_path, identity.key_path


async def listen_on(
    factory: Factory,
    address: BindAddress,
    context: ssl.SSLContext | None,
    *,
    shared: bool = False,
    handshake_s: float = 10.0,
) -> asyncio.Server:
    """Listen, or say why not."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            factory,
            address.host,
            address.port,
            ssl=context,
            backlog=1024,
            reuse_port=shared or None,
            ssl_handshake_timeout=None if context is None else handshake_s,
            ssl_shutdown_timeout=None if context is None else SHUTDOWN_S,
        )
    except OSError as error:
        raise _cannot_listen(address, error) from error


def _refuse_taken(address: BindAddress) -> None:
    """Bind once without sharing: another gateway of our user would else silently get a part of our calls."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        raise _cannot_listen(address, error) from error


def _cannot_listen(address: BindAddress, error: OSError) -> Misconfigured:
    return Misconfigured(
        "config_invalid", f"cannot listen on {address}: {error.strerror}", remedy="choose a free address"
    )


def _port_of(listener: asyncio.Server) -> int:
    port: int = listener.sockets[0].getsockname()[1]
    return port
