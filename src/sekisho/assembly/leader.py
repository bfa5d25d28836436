"""Worker 0 of several: chooses the port, lets the others in, and says for all of them that the house is ready.

Guarantees that no worker takes calls before the leader knows what is approved, that a plugin server is replaced only
when no living worker has a call under way there, and that a worker which was restarted is let in within a second. What
it says it says again every second, because a datagram dies with its receiver. When the leader itself is killed the
others go on; what only it does (approving on first use, keys, signing the log, the status page) waits for its return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sekisho.assembly.duties import Listen, tell_supervisor
from sekisho.assembly.mates import (
    Cancelled,
    Crowded,
    Drained,
    Look,
    Mates,
    Message,
    Open,
    Replaced,
    Said,
    Serving,
)
from sekisho.assembly.places import Places
from sekisho.gateway import SharedMemory
from sekisho.protocol import PluginName
from sekisho.telemetry import Logger

__all__ = ["Leader"]

SERVING_S: Final = 15.0  # for the others to come up; then the house is ready without those that did not
SAY_AGAIN_S: Final = 0.1
DRAINED_FRESH_S: Final = (
    2.5  # a worker that waits says so every second; what is older belongs to an earlier reload
)
AGREE_S: Final = 62.0  # a little longer than a worker drains


class Leader:
    """The duties of worker 0."""

    leads = True

    def __init__(
        self,
        places: Places,
        memory: SharedMemory,
        workers: int,
        *,
        withdraw: Callable[[str, str, int | str], bool],
        hear_word: Callable[[str, str, bool], bool],
        make_room: Callable[[], None],
        log: Logger,
    ) -> None:
        self._memory = memory
        self._withdraw = withdraw
        self._hear_word = hear_word
        self._make_room = make_room
        self._log = log
        self._mates = Mates(places.run, memory.worker, workers, self._take)
        self._port: int | None = None
        self._serving: set[int] = set()
        self._drained: dict[str, dict[int, float]] = {}
        self._change = asyncio.Event()

    def start(self) -> None:
        """Begin to hear the others."""
        self._mates.open()

    @property
    def others_live(self) -> bool:
        """True when another worker of ours runs, and so may hold our port."""
        return any(self._memory.is_alive(worker) for worker in self._mates.others)

    async def listen_before(self, listen: Listen) -> None:
        """Choose the port."""
        self._port = await listen(None)

    async def listen_after(self, listen: Listen) -> int:
        """Let the others in and wait for them, with a bound."""
        del listen
        assert self._port is not None  # noqa: S101  # listen_before chose it
        late = await self._wait(lambda: set(self._mates.others) - self._serving, SERVING_S)
        if late:
            self._log.warning("workers_late", missing=sorted(late))
        return self._port

    def noticed_approval(self) -> None:
        """The others need not wait for their next look."""
        self._mates.tell_all(Look())

    def withdraw_elsewhere(self, client: str, session: str, request: int | str) -> None:
        """Ask all others."""
        self._mates.tell_all(Cancelled(client, session, request))

    def hear_elsewhere(self, ask: str, scope: str, said_yes: bool) -> None:
        """Tell all others."""
        self._mates.tell_all(Said(ask, scope, said_yes))

    def ask_for_room(self) -> None:
        """Tell all others."""
        self._mates.tell_all(Crowded())

    async def agree_on_replacement(self, plugin: PluginName) -> None:
        """Wait for the others that live, then tell the supervisor."""
        loop = asyncio.get_running_loop()

        def missing() -> set[int]:
            said = self._drained.get(plugin, {})
            oldest = loop.time() - DRAINED_FRESH_S
            waiting = {one for one in self._mates.others if said.get(one, oldest) <= oldest}
            return {one for one in waiting if self._memory.is_alive(one)}

        await self._wait(missing, AGREE_S)
        self._drained.pop(plugin, None)
        tell_supervisor({"event": "drained", "plugin": plugin})
        self._mates.tell_all(Replaced(plugin))

    def look(self) -> None:
        """Say again what somebody may have missed."""
        self._serving = {worker for worker in self._serving if self._memory.is_alive(worker)}
        if self._port is not None:
            self._mates.tell_all(Open(self._port))

    def problems(self) -> dict[str, str]:
        """Workers that do not serve."""
        return {
            f"worker {worker}": "it does not serve"
            for worker in self._mates.others
            if worker not in self._serving
        }

    def close(self) -> None:
        """Hear nothing more."""
        self._mates.close()

    async def _wait(self, missing: Callable[[], set[int]], limit_s: float) -> set[int]:
        """Wait until nobody is missing; returns who still is when the time is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit_s
        while (still := missing()) and loop.time() < until:
            self.look()
            self._change.clear()
            try:
                async with asyncio.timeout(SAY_AGAIN_S):
                    await self._change.wait()
            except TimeoutError:
                continue
        return still

    def _take(self, message: Message) -> None:
        match message:
            case Serving(worker=worker):
                self._serving.add(worker)
            case Drained(worker=worker, plugin=plugin):
                said_at = asyncio.get_running_loop().time()
                self._drained.setdefault(plugin, {})[worker] = said_at
            case Cancelled(client=client, session=session, request=request):
                self._withdraw(client, session, request)
            case Said(ask=ask, scope=scope, said_yes=said_yes):
                self._hear_word(ask, scope, said_yes)
            case Crowded():
                self._make_room()
            case _:
                return
        self._change.set()
