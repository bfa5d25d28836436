"""The warden: keeps one plugin alive behind its wall, and its calls bounded.

Guarantees
- a call that outlives its execution time is withdrawn, given one second, and then the whole process tree is killed and
  the plugin started anew; the caller hears `plugin_timeout`;
- a plugin that ends, prints an endless line or breaks the protocol fails its own calls only, and restarts with backoff;
- the surface is listed after every start, whenever the plugin says it changed, and at every health check, so that a
  definition cannot change quietly;
- nothing of the plugin outlives the warden.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.desk import Desk
from sekisho.plugin_server.listing import list_surface
from sekisho.plugin_server.opening import EraMemory, open_session, told_of
from sekisho.plugin_server.session import PluginSession
from sekisho.wire import DenialFrame, StateFrame, SurfaceFrame

__all__ = ["Connection", "Connector", "Publisher", "Warden", "WardenRules"]

RELIST_PAUSE_S = 0.5  # a plugin that always says its lists changed must not keep us listing without a pause
KILL_GRACE_S = 1.0  # between "cancelled" and the end of the process tree
BACKOFF_FIRST_S = 0.1  # from the second end in a row
BACKOFF_MOST_S = 30.0
BACKOFF_RESET_S = 60.0  # a plugin that ran this long starts again without delay


class Connection(Protocol):
    """A running plugin: its session, and when it ended."""

    session: PluginSession

    async def ended(self) -> SekishoError:
        """Return when the plugin is gone, with the reason."""

    async def kill(self) -> None:
        """End the whole process tree now."""


# Starts the plugin; leaving the context ends it. The argument is told whenever the plugin says its lists changed.
Connector = Callable[[Callable[[], None]], AbstractAsyncContextManager[Connection]]


class Publisher(Protocol):
    """Where the core hears about the plugin."""

    def publish_surface(self, frame: SurfaceFrame) -> None:
        """What the plugin offers now."""

    def publish_state(self, frame: StateFrame) -> None:
        """How it is."""

    def publish_denial(self, denial: DenialFrame) -> None:
        """A wall refused something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WardenRules:
    """Times of one plugin, in seconds."""

    start_timeout_s: float
    execution_timeout_s: float
    health_interval_s: float


class Warden:
    """Owns one plugin. `call`, `cancel` and `answer` are its desk's."""

    def __init__(
        self,
        *,
        connect: Connector,
        publisher: Publisher,
        rules: WardenRules,
        log: Callable[..., None],
        era: EraMemory | None = None,
        instance: str = "",
    ) -> None:
        self._connect = connect
        self._publisher = publisher
        self._rules = rules
        self._log = log
        self._connection: Connection | None = None
        self._restarts = 0
        self._relist = asyncio.Event()
        self._era = EraMemory() if era is None else era
        self.desk = Desk(
            execution_timeout_s=rules.execution_timeout_s, on_hang=self._kill_soon, instance=instance
        )
        self.call = self.desk.call  # no step between: it is called for every call there is
        self.cancel = self.desk.cancel
        self.answer = self.desk.answer
        self._loop = asyncio.get_running_loop()
        self._killers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep the plugin running until cancelled."""
        try:
            await self.live_on()
        finally:
            self.desk.close()
            await self.settle()

    async def settle(self) -> None:
        """End what would end a life that is over."""
        for killer in self._killers:
            killer.cancel()
        await asyncio.gather(*self._killers, return_exceptions=True)

    async def live_on(self) -> None:
        """Start the plugin again whenever it ended, until cancelled."""
        backoff_s = 0.0  # one end is an accident, and a forked plugin is back in tens of milliseconds
        while True:
            self._tell("starting" if self._restarts == 0 else "restarting", "")
            started = self._loop.time()
            reason = await self.live_once()
            if self._loop.time() - started > BACKOFF_RESET_S:
                backoff_s = 0.0
            told = told_of(reason)
            self._log("plugin_ended", code=reason.code, reason=told, restarts=self._restarts)
            self._tell("restarting", told)
            self._restarts += 1
            await asyncio.sleep(backoff_s)
            backoff_s = min(max(backoff_s * 2, BACKOFF_FIRST_S), BACKOFF_MOST_S)

    async def live_once(self) -> SekishoError:
        """Start the plugin, serve it until it ends, and say why it did."""
        try:
            async with self._open() as connection:
                async with asyncio.TaskGroup() as group:
                    # from the first byte on: a plugin that ends while it starts is not waited for
                    server = group.create_task(self._serve(connection))
                    reason = await connection.ended()
                    server.cancel()
                return reason
        except SekishoError as error:
            return error
        except ExceptionGroup as group_error:
            # a handshake or a listing that failed ends this life of the plugin
            ours, others = group_error.split(SekishoError)
            if others is not None or ours is None:
                raise
            return _first(ours)

    async def _serve(self, connection: Connection) -> None:
        opened = await open_session(connection.session, self._era, self._rules.start_timeout_s)
        await self._publish(connection, opened)
        self._connection = connection
        self.desk.opened(connection.session, opened.capabilities)
        connection.session.on_reopened = lambda: self.desk.reopened(connection.session, opened.capabilities)
        self._tell("ready", "")
        await self._watch(connection, opened)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Connection]:
        async with self._connect(self._relist.set) as connection:
            try:
                yield connection
            finally:
                self._connection = None
                self.desk.closed()  # before the end is awaited: a call that comes now is refused at once
                connection.session.fail_all(Unavailable("plugin_exited", "the plugin ended during the call"))
                self._say_dropped()

    async def _watch(self, connection: Connection, opened: SurfaceFrame) -> None:
        """List again when the plugin says so, and at every health check."""
        next_at = self._loop.time()  # the first change is looked at without delay
        while True:
            try:
                async with asyncio.timeout(self._rules.health_interval_s):
                    await self._relist.wait()
                    await asyncio.sleep(next_at - self._loop.time())
            except TimeoutError:
                pass
            self._relist.clear()
            self.desk.refresh()
            self._say_dropped()
            await self._publish(connection, opened)
            next_at = self._loop.time() + RELIST_PAUSE_S

    async def _publish(self, connection: Connection, opened: SurfaceFrame) -> None:
        self._publisher.publish_surface(
            await list_surface(connection.session, opened, self._rules.start_timeout_s)
        )

    def _say_dropped(self) -> None:
        dropped = self.desk.take_dropped()
        if dropped:
            self._log("plugin_messages_dropped", **dropped)
        if dropped.get("ambiguous"):
            self._log(
                "plugin_question_refused",
                reason="it named no call, and calls of several clients were under way",
                remedy='instances = "client" gives each client a process of the plugin',
            )

    def _tell(self, state: Literal["starting", "ready", "restarting", "failed"], detail: str) -> None:
        self._publisher.publish_state(StateFrame(state=state, detail=detail, restarts=self._restarts))

    def _kill_soon(self) -> None:
        """A call was not answered in time."""
        limit = f"execution_timeout_seconds = {self._rules.execution_timeout_s:g}"
        self._publisher.publish_denial(
            DenialFrame(
                "timeout", limit, "the plugin did not answer a call in time; its processes are killed"
            )
        )
        connection = self._connection
        if connection is not None:
            killer = self._loop.create_task(self._kill_after(connection, KILL_GRACE_S))
            self._killers.add(killer)
            killer.add_done_callback(self._killers.discard)

    async def _kill_after(self, connection: Connection, grace_s: float) -> None:
        """Give the plugin a moment to end the withdrawn call, then end it: a call that hangs may hold anything."""
        await asyncio.sleep(grace_s)
        try:
            await connection.kill()
        except SekishoError as error:
            self._log("plugin_kill_failed", code=error.code, reason=error.message)


def _first(group: BaseException) -> SekishoError:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, SekishoError)  # noqa: S101  # split() leaves only these
    return group
