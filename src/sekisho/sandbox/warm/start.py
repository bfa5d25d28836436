"""A plugin that is started warm: forked inside its walls, which are raised once with a fork server in them.

Guarantees
- the walls are those of the ordinary start, drawn by the same plan, for this plugin alone;
- a plugin that ends leaves no process and no file for the next one; where that cannot be shown, the walls are torn
  down with everything in them, and new ones are raised;
- a plugin that crashes gets new walls too, with another address layout, so that no attack on it learns from the last;
- when anything about it fails, the ordinary start happens, and the log says why, once.

Whether a plugin can be started so says `preparation`; one set of walls with what lives in it is `walls`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from sekisho.errors import SekishoError
from sekisho.sandbox.plans.plan import Plan
from sekisho.sandbox.running.sandbox import Exit, GateSockets, Sandbox
from sekisho.sandbox.running.violations import Denied, Violation
from sekisho.sandbox.warm.walls import Unfit, Walls

__all__ = ["Running", "Warm"]


class Running(Protocol):
    """One started plugin; its three pipes belong to who asked for it."""

    stdin_fd: int
    stdout_fd: int
    stderr_fd: int

    @property
    def gate_sockets(self) -> GateSockets | None:
        """The gate's sockets inside its network, to be closed by who asked."""

    def violations(self) -> tuple[Violation, ...]:
        """What its walls refused since they stand."""

    def take_denied(self) -> tuple[Denied, ...]:
        """Attempts on paths that they refused, since they were asked for last."""

    async def wait(self) -> Exit:
        """Until the plugin and everything it started have ended."""

    async def kill_tree(self) -> Exit:
        """End it; nothing of it is left."""

    def close_fds(self) -> None:
        """Close the pipes and the gate sockets, for a caller that has not taken them elsewhere."""


class Raises(Protocol):
    """Whoever raises walls."""

    async def launch(self, plan: Plan, channel: int | None = None) -> Sandbox:
        """Raise those of a plan; `channel` is a descriptor that its program inherits."""


class Warm:
    """Starts one plugin again and again. A context: leaving it tears its walls down."""

    def __init__(
        self, *, driver: Raises, plain: Plan, warm: Plan, message: bytes, log: Callable[..., None]
    ) -> None:
        self._driver = driver
        self._plain = plain
        self._warm = warm
        self._message = message
        self._log = log
        self._walls: Walls | None = None
        self._is_given_up = False
        self.raised = 0  # how often walls were raised

    async def __aenter__(self) -> Warm:
        """Nothing is started before somebody asks."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Tear the walls down."""
        await self._tear_down()

    async def prepare(self) -> None:
        """Raise the walls ahead of the start, which then is a fork."""
        if self._walls is None and not self._is_given_up:
            try:
                self._walls = await self._raise_walls()
            except (Unfit, SekishoError) as error:
                await self._give_up(error)

    async def start(self) -> Running:
        """Start the plugin.

        Raises:
            Misconfigured: walls could not be built, in the ordinary way either.
        """
        if self._is_given_up:
            return await self._driver.launch(self._plain)
        if self._walls is not None:
            try:
                return await self._walls.fork()
            except Unfit:
                await self._tear_down()
        try:
            self._walls = await self._raise_walls()
            return await self._walls.fork()
        except (Unfit, SekishoError) as error:
            await self._give_up(error)
            return await self._driver.launch(self._plain)

    async def _give_up(self, error: Exception) -> None:
        """From now on it is started in the ordinary way."""
        self._is_given_up = True
        self._log("plugin_not_warm", plugin=self._plain.name, reason=str(error))
        await self._tear_down()

    async def _raise_walls(self) -> Walls:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                sandbox = await self._driver.launch(self._warm, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        self.raised += 1
        walls = self._walls = Walls(sandbox, ours)
        loaded = await walls.wait_ready(self._message)
        self._log("plugin_walls_raised", plugin=self._plain.name, raised=self.raised, loaded=loaded)
        return walls

    async def _tear_down(self) -> None:
        walls, self._walls = self._walls, None
        if walls is not None:
            await walls.close()
