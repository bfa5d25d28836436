"""One instance of a plugin: a process and all that is known of its calls, for one client or session alone.

Guarantees
- it is started by the first call that needs it, and shows the reviewed face before it takes one;
- calls that wait for its start are bounded, and wait no longer than their own time;
- a start that failed refuses the calls that waited, and is not tried again at once;
- what its client's sessions want to hear outlives its process, as it does when a shared plugin is started again.

How many there are, and when one ends, is decided by `instances`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from sekisho.errors import SekishoError
from sekisho.plugin_server.face import Face
from sekisho.plugin_server.opening import EraMemory, told_of
from sekisho.plugin_server.waiting import Waiting
from sekisho.plugin_server.warden import BACKOFF_FIRST_S, BACKOFF_MOST_S, Connection, Warden, WardenRules
from sekisho.wire import DenialFrame, Inbound, StateFrame, SurfaceFrame

__all__ = ["Instance", "SlotConnector"]


# Starts the plugin in a slot; slot 0 is the listed instance's.
SlotConnector = Callable[[int, Callable[[], None]], AbstractAsyncContextManager[Connection]]


class Instance:
    """`slot` is where it runs, or 0 while it does not run; `used_at` is when a call was last seen under way."""

    def __init__(
        self,
        name: str,
        *,
        connect: SlotConnector,
        rules: WardenRules,
        face: Face,
        era: EraMemory,
        log: Callable[..., None],
        publish_denial: Callable[[DenialFrame], None],
    ) -> None:
        self.name = name
        self.slot = 0
        self.used_at = 0.0
        self._face = face
        self._rules = rules
        self._log = log
        self.publish_denial = publish_denial
        self._loop = asyncio.get_running_loop()
        self._waiting = Waiting(rules.execution_timeout_s)
        self._was_ready = False
        self._is_ending = False
        self._backoff_s = 0.0
        self._not_before = 0.0
        self._problem: SekishoError | None = None
        self._task: asyncio.Task[None] | None = None
        self._warden = Warden(
            connect=lambda on_list_changed: connect(self.slot, on_list_changed),
            publisher=self,
            rules=rules,
            log=log,
            era=era,
            instance=name,
        )
        self.desk = self._warden.desk

    # its state

    @property
    def takes_calls(self) -> bool:
        """True while its plugin runs and is not about to be ended."""
        return self.desk.is_open and not self._is_ending

    @property
    def is_waited_for(self) -> bool:
        """True while a call waits for its start."""
        return bool(self._waiting)

    @property
    def is_ending(self) -> bool:
        """True from the decision to end its process until nothing is left of it."""
        return self._is_ending

    @property
    def is_idle(self) -> bool:
        """True while its process runs for nobody."""
        return self.takes_calls and not (self.desk.is_busy or self._waiting)

    @property
    def can_be_forgotten(self) -> bool:
        """True when it does not run and nothing is known of it but a start that failed."""
        return (
            not (self.slot or self._waiting) and self.desk.is_empty and self._loop.time() >= self._not_before
        )

    @property
    def problem(self) -> SekishoError | None:
        """Why it is not started now: it failed to, a moment ago."""
        return self._problem if self._loop.time() < self._not_before else None

    # calls

    def wait(self, inbound: Inbound) -> None:
        """Keep a call until the plugin takes it."""
        self._waiting.hold(inbound)

    def cancel(self, inbound: Inbound) -> None:
        """The core no longer waits for this call."""
        if not self._waiting.withdraw(inbound):
            self.desk.cancel(inbound)

    def refuse(self, reason: SekishoError) -> None:
        """Nothing more is waited for."""
        self._waiting.refuse(reason)

    # its process

    def start(self, group: asyncio.TaskGroup, slot: int, on_end: Callable[[Instance, int], None]) -> None:
        """Start the process; `on_end` hears when nothing of it is left."""
        self.slot, self._was_ready, self._is_ending = slot, False, False
        self._task = group.create_task(self._live(on_end))

    def end(self, reason: str) -> None:
        """End the process."""
        if self._task is not None and not self._is_ending:
            self._log("plugin_instance_ended", slot=self.slot, reason=reason)
            self._is_ending = True
            self._task.cancel()

    def close(self) -> None:
        """It is forgotten: whoever listens hears no more."""
        self.desk.end_listening()
        self.desk.close()

    # what its warden tells

    def publish_surface(self, frame: SurfaceFrame) -> None:
        """Before its first call, and whenever it is listed again."""
        self._face.compare(frame)

    def publish_state(self, frame: StateFrame) -> None:
        """It takes calls now."""
        if frame.state != "ready":
            return
        self._was_ready, self._backoff_s, self._problem = True, 0.0, None
        self.used_at = self._loop.time()
        self._waiting.release(self.desk.call)

    async def _live(self, on_end: Callable[[Instance, int], None]) -> None:
        try:
            reason = await self._warden.live_once()
            self._log("plugin_instance_ended", slot=self.slot, code=reason.code, reason=told_of(reason))
            if not self._was_ready:
                self._fail(reason)
        finally:
            await self._warden.settle()
            slot, self.slot, self._task, self._is_ending = self.slot, 0, None, False
            on_end(self, slot)

    def _fail(self, reason: SekishoError) -> None:
        """It did not start: neither these calls nor those of the next moment make us try again."""
        self._backoff_s = min(max(self._backoff_s * 2, BACKOFF_FIRST_S), BACKOFF_MOST_S)
        self._not_before = self._loop.time() + self._backoff_s
        self._problem = reason
        self.refuse(reason)
