"""Where the core listens: the port, the certificate shown there, and who else may take connections from it.

Guarantees that a port chosen freely is chosen again after a restart, that several workers share a port only among
themselves, that a renewed certificate is shown, and other authorities of clients are believed, without a restart; what
cannot be used leaves everything as it was. A port that somebody else listens on is refused, although the kernel would
let processes of one user share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sekisho.assembly.identities import front_id
from sekisho.assembly.places import Places
from sekisho.config import BindAddress, CoreServer
from sekisho.errors import Misconfigured
from sekisho.keys import KeyFolder, front_context

__all__ = ["Listener", "listen_for_operators", "listen_on"]

SHUTDOWN_S: Final = 2.0  # a client that does not say goodbye must not hold its connection
Factory = Callable[[], asyncio.BaseProtocol]


class Listener:
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
        self._client_ca_path = client_ca_path
        self._loaded = self._believed = time.time()
        self._listener: asyncio.Server | None = None
        self._factory: Factory | None = None

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
        return await self._open_at(factory, address, shared=True, is_ours=True)

    def port_without_leader(self) -> int | None:
        """The port, as far as it is known when nobody tells it."""
        return self._server.bind_addr.port or self._places.chosen_port()

    def url(self, port: int) -> str:
        """What a client on this machine connects to."""
        host = "127.0.0.1" if self._server.bind_addr.host == "0.0.0.0" else self._server.bind_addr.host
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._context is None else 'https'}://{host}:{port}/mcp"

    def close(self) -> None:
        """Take no more connections; those that are open go on."""
        if self._listener is not None:
            self._listener.close()

    def check_authorities(self, client_ca_path: Path | None) -> None:
        """Raise `Misconfigured` for authorities of clients that could not be believed."""
        if self._context is not None:
            front_context(*self._files(), client_ca_path)

    async def take_up_renewal(self, now: float, client_ca_path: Path | None) -> None:
        """Show a certificate that was renewed since the last look, and believe the authorities of this file.

        Raises:
            Misconfigured: A file cannot be used (it may be half written); what was loaded before goes on counting.
        """
        context = self._context
        if context is None:
            return
        try:
            if self._files()[0].stat().st_mtime > self._loaded:
                front_context(*self._files())  # a pair that does not fit must not replace the one in use
                context.load_cert_chain(*self._files())
                self._loaded = now
            if client_ca_path != self._client_ca_path or _is_newer(client_ca_path, self._believed):
                await self._listen_anew(front_context(*self._files(), client_ca_path))
                self._client_ca_path, self._believed = client_ca_path, now
        except OSError as error:  # ssl.SSLError is one
            raise Misconfigured(
                "key_unavailable", f"a certificate for clients cannot be read: {error}"
            ) from error

    async def _listen_anew(self, context: ssl.SSLContext) -> None:
        """Give new connections another context. The socket stays, so that nobody is turned away meanwhile."""
        before, self._context = self._listener, context
        if before is None or self._factory is None:
            return
        same = socket.socket(fileno=os.dup(before.sockets[0].fileno()))
        self._listener = await asyncio.get_running_loop().create_server(
            self._factory, sock=same, **_manner(context, self._handshake_s)
        )
        before.close()

    async def _open_at(self, factory: Factory, address: BindAddress, *, shared: bool, is_ours: bool) -> int:
        if shared and not is_ours:
            _refuse_taken(address)
        self._factory = factory
        self._listener = await listen_on(
            factory, address, self._context, shared=shared, handshake_s=self._handshake_s
        )
        return _port_of(self._listener)

    def _files(self) -> tuple[Path, Path]:
        server = self._server
        if server.tls_cert_path is not None and server.tls_key_path is not None:
            return server.tls_cert_path, server.tls_key_path
        identity = self._keys.identity(front_id(server.trust_domain))
        return identity.cert_path, identity.key_path


async def listen_for_operators(factory: Factory, address: BindAddress) -> str:
    """Listen in plain HTTP; returns the URL."""
    listener = await listen_on(factory, address, None)
    host, port = listener.sockets[0].getsockname()[:2]
    return f"http://{host}:{port}"


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
            reuse_port=shared or None,
            **_manner(context, handshake_s),
        )
    except OSError as error:
        raise _cannot_listen(address, error) from error


def _manner(context: ssl.SSLContext | None, handshake_s: float) -> dict[str, Any]:
    """How a listener treats its connections."""
    return {
        "ssl": context,
        "backlog": 1024,
        "ssl_handshake_timeout": None if context is None else handshake_s,
        "ssl_shutdown_timeout": None if context is None else SHUTDOWN_S,
    }


def _is_newer(path: Path | None, than: float) -> bool:
    return path is not None and path.stat().st_mtime > than


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
