"""The egress process: one gate for each plugin, all in one event loop, with no key and no token of the core.

- Every plugin's hand-off socket is open before `ready` is called.
- A new hand-off at a socket replaces the gate of its last one: that sandbox was started again, the old one is gone.
- A gate is open for as long as the plugin server that handed its sockets over holds the line; on the line it hears
  what was refused.
- A hand-off that is refused is logged and changes nothing.
- What happens is written to the plugin's ledger in `<log_folder>`, and told to `on_event` when it was.

Which plugins there are and what they may reach comes from the settings; nothing a sandbox sends can change
it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from sekisho.egress.custody import Custody
from sekisho.egress.event import EgressEvent
from sekisho.egress.gate import EgressGate
from sekisho.egress.handoff import GateSockets, accept, listen, receive_gate
from sekisho.egress.lease import LeaseDesk
from sekisho.egress.ledger import Ledger
from sekisho.egress.line import LineEnd
from sekisho.egress.outlet import Outlet
from sekisho.egress.share import Share
from sekisho.errors import Misconfigured, RemoteProtocolError
from sekisho.policy import NetworkGrant
from sekisho.policy.grants import Grants

__all__ = ["EgressSettings", "serve"]

MB: Final = 1_000_000
logger = logging.getLogger("sekisho.egress")


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """`sockets`: for each plugin the path of its hand-off socket and its grant. `log_folder`: one file a
    plugin. `more`: hand-off sockets of further sandboxes of a plugin, which have its grant and its file. `leases`:
    where plugins with secrets, or with TLS to be opened, ask for what they need before they start."""

    sockets: Mapping[str, tuple[Path, NetworkGrant]]
    log_folder: Path
    more: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    leases: Mapping[str, tuple[Path, Grants]] = field(default_factory=dict)


async def serve(
    settings: EgressSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    on_event: Callable[[EgressEvent], None] = lambda _event: None,
    clock: Callable[[], float] = time.time,
    outlet_for: Callable[[NetworkGrant], Outlet] | None = None,
    environment: Mapping[str, str] | None = None,
    outer: ssl.SSLContext | None = None,
) -> None:
    """Serve all gates until cancelled.

    Args:
        settings: the plugins.
        ready: called once every hand-off socket listens.
        on_event: told of every event that was written; a flood of refusals is written in part.
        clock: Unix time in seconds, for the log.
        outlet_for: how connections are opened for a grant; by default through the system's resolver.
        environment: where secrets are found that are named by a variable.
        outer: whom real hosts must be vouched for by, where TLS is opened.

    Raises:
        Misconfigured: a hand-off socket cannot be opened.
    """
    with ExitStack() as stack:
        desks = []
        listening: dict[str, tuple[LeaseDesk, socket.socket]] = {}
        for plugin, (path, network) in settings.sockets.items():
            ledger = Ledger(settings.log_folder / f"{plugin}.jsonl", clock)
            leases = None
            if plugin in settings.leases:
                lease_path, grants = settings.leases[plugin]
                leases = LeaseDesk(grants, environment or {}, clock=clock, outer=outer)
                listening[plugin] = (leases, stack.enter_context(_listen(lease_path)))
                stack.callback(lease_path.unlink, missing_ok=True)
            guest = _Guest(plugin, network, _written(ledger, on_event), leases)
            for one in (path, *settings.more.get(plugin, ())):
                listener = stack.enter_context(_listen(one))
                stack.callback(one.unlink, missing_ok=True)
                outlet = None if outlet_for is None else outlet_for(network)
                desks.append(_Desk(guest, listener, outlet))
        ready()
        async with asyncio.TaskGroup() as group:
            for desk in desks:
                group.create_task(desk.serve())
            for leases, listener in listening.values():
                group.create_task(leases.serve(listener))
            group.create_task(
                asyncio.Event().wait()
            )  # without plugins there is nothing to do, but no reason to end


class _Guest:
    """One plugin here: what it may reach and use, and the lines of its sandboxes."""

    def __init__(
        self,
        name: str,
        network: NetworkGrant,
        on_event: Callable[[EgressEvent], None],
        leases: LeaseDesk | None,
    ) -> None:
        self.name = name
        self._leases = leases
        self.network = network
        self.on_event = on_event
        self.lines: set[LineEnd] = set()
        self.share = Share(
            max_connections=network.max_connections,
            bytes_per_minute=network.max_mb_per_minute * MB,
            on_slow=self._tell_slow,
        )

    def custody(self) -> Custody | None:
        """What is held for it now."""
        return None if self._leases is None else self._leases.custody

    def _tell_slow(self) -> None:
        reason = f"slowed down: more than {self.network.max_mb_per_minute} MB in a minute"
        slow = EgressEvent(plugin=self.name, kind="rate", host="", port=0, allowed=True, reason=reason)
        self.on_event(slow)
        for line in list(self.lines)[:1]:  # all of them end at the same plugin server
            line.tell(slow)


class _Desk:
    """Takes the hand-offs at one socket of a plugin and keeps the gate of the newest."""

    def __init__(self, guest: _Guest, listener: socket.socket, outlet: Outlet | None) -> None:
        self._guest = guest
        self._listener = listener
        self._outlet = outlet

    async def serve(self) -> None:
        current: tuple[asyncio.Task[None], LineEnd] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                connection = await accept(self._listener)
                sockets = await self._receive(connection)
                if sockets is None:
                    continue
                line = LineEnd(connection)
                if current is not None:
                    current[1].say_replaced()
                    current[0].cancel()
                task = group.create_task(self._keep(sockets, line, after=current and current[0]))
                # A task that is cancelled before its first step never reaches its own `with`.
                task.add_done_callback(partial(self._close, sockets, line))
                current = task, line
                logger.info("egress_gate_opened", extra={"plugin": self._guest.name})

    def _close(self, sockets: GateSockets, line: LineEnd, _task: asyncio.Task[None]) -> None:
        self._guest.lines.discard(line)
        sockets.close()
        line.close()

    async def _receive(self, connection: socket.socket) -> GateSockets | None:
        """The four sockets; the connection stays open only when they came."""
        try:
            return await receive_gate(connection)
        except RemoteProtocolError as error:
            connection.close()
            logger.warning(
                "egress_handoff_refused", extra={"plugin": self._guest.name, "reason": error.message}
            )
            return None
        except BaseException:
            connection.close()
            raise

    async def _keep(self, sockets: GateSockets, line: LineEnd, *, after: asyncio.Task[None] | None) -> None:
        """Serve one sandbox until its plugin server hangs up; `after` is the gate whose place it takes."""
        if after is not None:
            await asyncio.wait([after])  # its sockets are closed before the new ones answer
        guest = self._guest
        guest.lines.add(line)
        gate = EgressGate(
            guest.name,
            guest.network,
            _both(guest.on_event, line.tell),
            outlet=self._outlet,
            share=guest.share,
            custody=guest.custody,
        )
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(gate.serve(sockets))
                await line.wait_closed()
                serving.cancel()
        except Exception:  # the top of this task: one plugin loses its network, the others keep theirs
            logger.exception("egress_gate_failed", extra={"plugin": self._guest.name})


def _listen(path: Path) -> socket.socket:
    try:
        return listen(path)
    except OSError as error:
        raise Misconfigured(
            "sandbox_unavailable",
            f"cannot listen at {path}",
            remedy="check the run folder and its permissions",
        ) from error


def _written(ledger: Ledger, on_event: Callable[[EgressEvent], None]) -> Callable[[EgressEvent], None]:
    """Write every event, and tell of those that were written: a flood must not fill other logs instead."""

    def tell(event: EgressEvent) -> None:
        if ledger.write(event):
            on_event(event)

    return tell


def _both(
    first: Callable[[EgressEvent], None], second: Callable[[EgressEvent], None]
) -> Callable[[EgressEvent], None]:
    def tell(event: EgressEvent) -> None:
        first(event)
        second(event)

    return tell
