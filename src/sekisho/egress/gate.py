"""The egress gate of one plugin: it serves the four sockets that were opened inside that plugin's network
namespace.

- The plugin is known by the sockets its connections come in on; there is nothing in the sandbox to present or
  forge.
- A connection to port 443 or 80 that did not go to a synthetic address went to an address literal and is
  refused.
- What a plugin may use of this process, questions for names too, is bounded by its `Share`; one connection too many is
  refused, not queued.
- Every refusal, and the end of everything that was let through, is one `EgressEvent`.

The sockets are all it has: the gate itself lives outside, and reaches the world through `Outlet`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import IPv4Address, ip_address
from typing import Final

from sekisho.egress.custody import Custody, nothing_held
from sekisho.egress.event import EgressEvent, Kind
from sekisho.egress.handoff import DESCRIPTORS_GONE, DESCRIPTORS_GONE_WAIT_S, GateSockets
from sekisho.egress.injection import names_placeholder
from sekisho.egress.name_service import answer_questions
from sekisho.egress.names import SyntheticNames, answer
from sekisho.egress.outlet import Outlet, SystemResolver
from sekisho.egress.proxy import Journey
from sekisho.egress.share import Share
from sekisho.egress.stream import Stream
from sekisho.egress.tunnel import Target
from sekisho.policy import NetworkGrant, is_listed

__all__ = ["EgressGate"]

_NO_LISTENER: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
logger = logging.getLogger("sekisho.egress")

_ADDRESS_LITERAL: Final = "the connection went to an address instead of a name"


class EgressGate:
    """One plugin's door. `serve` it until cancelled."""

    def __init__(
        self,
        plugin: str,
        network: NetworkGrant,
        on_event: Callable[[EgressEvent], None],
        *,
        outlet: Outlet | None = None,
        share: Share | None = None,
        custody: Callable[[], Custody | None] = nothing_held,
    ) -> None:
        self._custody = custody
        self._plugin = plugin
        self._network = network
        self._on_event = on_event
        self._resolver = SystemResolver()
        self._outlet = Outlet(network, resolve=self._resolver) if outlet is None else outlet
        self._share = Share() if share is None else share
        self._names = SyntheticNames()

    async def serve(self, sockets: GateSockets) -> None:
        """Serve the sockets until cancelled; they are closed at the end, and every connection with them."""
        with sockets:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(answer_questions(sockets.dns, self._share, self._answer))
                    group.create_task(self._accept(sockets.proxy, group, self._serve_proxy))
                    group.create_task(self._accept(sockets.tls, group, self._serve_tls))
                    group.create_task(self._accept(sockets.http, group, self._serve_http))
            finally:
                self._resolver.close()

    async def _accept(
        self, listener: socket.socket, group: asyncio.TaskGroup, serve: Callable[[Stream], Awaitable[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # An accept that succeeds at once does not yield: a flood of knocks would be all this process ever does.
            await self._share.wait_room()
            self._share.charge(0)
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in _NO_LISTENER:
                    raise
                if error.errno in DESCRIPTORS_GONE:
                    await asyncio.sleep(DESCRIPTORS_GONE_WAIT_S)
                continue  # the client went away between its knock and our answer
            if not self._share.enter():
                connection.close()
                self._refuse("connection", "", 0, "too many open connections")
                continue
            # A task that is cancelled before its first step closes nothing itself.
            group.create_task(self._serve_one(connection, serve)).add_done_callback(
                partial(self._end_one, connection)
            )

    def _end_one(self, connection: socket.socket, _task: asyncio.Task[None]) -> None:
        connection.close()
        self._share.leave()

    async def _serve_one(self, connection: socket.socket, serve: Callable[[Stream], Awaitable[None]]) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await serve(Stream(connection, self._share))
        except Exception:  # the top of this task: a bug of ours ends one connection, not the gate
            logger.exception("egress_connection_failed", extra={"plugin": self._plugin})
            self._refuse("connection", "", 0, "internal error")

    async def _serve_proxy(self, client: Stream) -> None:
        await self._journey(client).serve_proxy()

    async def _serve_tls(self, client: Stream) -> None:
        target = self._target_of(client, 443)
        if target is None:
            return self._refuse("tls", "", 443, _ADDRESS_LITERAL)
        await self._journey(client).serve_tls(target)
        return None

    async def _serve_http(self, client: Stream) -> None:
        target = self._target_of(client, 80)
        if target is None:
            return self._refuse("http", "", 80, _ADDRESS_LITERAL)
        await self._journey(client).serve_http(target)
        return None

    def _journey(self, client: Stream) -> Journey:
        return Journey(
            plugin=self._plugin,
            client=client,
            outlet=self._outlet,
            on_event=self._on_event,
            custody=self._custody,
        )

    def _target_of(self, client: Stream, port: int) -> Target | None:
        """The name behind the synthetic address this connection was made to."""
        address = ip_address(client.sock.getsockname()[0])
        name = self._names.name_of(address) if isinstance(address, IPv4Address) else None
        return None if name is None else Target(host=name, port=port)

    def _answer(self, query: bytes) -> bytes | None:
        reply = answer(query, self._is_known, self._names)
        if reply is None:
            return None
        if reply.refused is not None and names_placeholder(reply.refused):
            self._refuse("secret", "", 53, "a placeholder stands in a host name")
        elif reply.refused is not None:
            self._refuse("dns", reply.refused, 53, "the name is not on the allow-list")
        return reply.data

    def _is_known(self, host: str) -> bool:
        # Below a *.suffix every name is listed, also one that carries a placeholder.
        return is_listed(self._network, host) and not names_placeholder(host)

    def _refuse(self, kind: Kind, host: str, port: int, reason: str) -> None:
        self._on_event(
            EgressEvent(plugin=self._plugin, kind=kind, host=host, port=port, allowed=False, reason=reason)
        )
