"""A plugin that ends when nobody uses it, and is started again by the next call.

Guarantees
- it ends only when no call is under way or parked, and nobody listens for news of it;
- a call that comes while it rests waits for its start, within the time it has anyway, and is carried out once; it was
  judged by what the plugin showed before, so it is refused when the plugin comes back showing anything else;
- an end that nobody wished is mended as ever, by its warden, with backoff.

What it shows at its next start is judged as at every start. Knows no instance of a client: a plugin with one process
for each has a pool that ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sekisho.errors import Refused
from sekisho.plugin_server.face import Face
from sekisho.plugin_server.waiting import Waiting
from sekisho.plugin_server.warden import Connector, Publisher, Warden, WardenRules
from sekisho.wire import AnswerFrame, DenialFrame, Inbound, StateFrame, SurfaceFrame

__all__ = ["Resting"]

LOOKS: Final = 8  # at whether it is used, in the time after which it ends


class Resting:
    """Owns one plugin that all clients share; `call`, `cancel` and `answer` are for the wire."""

    def __init__(
        self,
        *,
        connect: Connector,
        publisher: Publisher,
        rules: WardenRules,
        idle_s: float,
        log: Callable[..., None],
    ) -> None:
        self._publisher = publisher
        self._idle_s = idle_s
        self._log = log
        self._warden = Warden(connect=connect, publisher=self, rules=rules, log=log)
        self.desk = self._warden.desk
        self._waiting = Waiting(rules.execution_timeout_s)
        self._loop = asyncio.get_running_loop()
        self._used_at = self._loop.time()
        self._is_resting = False
        self._wanted = asyncio.Event()
        self._face = Face(self._refuse_waiting)

    async def run(self) -> None:
        """Keep it running while it is used, until cancelled."""
        try:
            while True:
                await self._live_until_idle()
                if not self._waiting:
                    self._publisher.publish_state(StateFrame(state="idle"))
                await self._wanted.wait()
        finally:
            self.desk.close()
            await self._warden.settle()

    # calls

    def call(self, inbound: Inbound) -> None:
        """Carry out a call, now or once the plugin runs again."""
        self._used_at = self._loop.time()
        if self._is_resting:
            self._waiting.hold(inbound)
            self._wanted.set()
        else:
            self.desk.call(inbound)

    def cancel(self, inbound: Inbound) -> None:
        """The core no longer waits for this call."""
        if not self._waiting.withdraw(inbound):
            self.desk.cancel(inbound)

    def answer(self, frame: AnswerFrame) -> None:
        """A client answered a question of the plugin."""
        self.desk.answer(frame)

    # what its warden tells

    def publish_surface(self, frame: SurfaceFrame) -> None:
        """What it shows, before it takes a call."""
        self._face.show(frame)
        self._publisher.publish_surface(frame)

    def publish_state(self, frame: StateFrame) -> None:
        """How it is; once it is ready, it takes what waited."""
        self._publisher.publish_state(frame)
        if frame.state == "ready":
            self._is_resting = False
            self._used_at = self._loop.time()
            self._waiting.release(self.desk.call)

    def _refuse_waiting(self) -> None:
        self._waiting.refuse(
            Refused("definition_changed", "the plugin offers other things than when this call was judged")
        )

    def publish_denial(self, denial: DenialFrame) -> None:
        """A wall refused it something."""
        self._publisher.publish_denial(denial)

    # its life

    async def _live_until_idle(self) -> None:
        self._wanted.clear()
        async with asyncio.TaskGroup() as group:
            life = group.create_task(self._warden.live_on())
            await self._idle()
            self._is_resting = True  # from here on calls wait for the next start
            self._log("plugin_rests", idle_s=self._idle_s)
            life.cancel()

    async def _idle(self) -> None:
        while True:
            await asyncio.sleep(self._idle_s / LOOKS)
            desk, now = self.desk, self._loop.time()
            if desk.is_busy or desk.is_followed or not desk.is_open:
                self._used_at = now
            elif now - self._used_at >= self._idle_s:
                return
