"""A worker that is not the leader: serves calls, reads what the leader writes, writes nothing but the log.

Guarantees that it takes no call before its plugin servers have reported and the leader let it in; and that it goes on
without a leader: a follower that was started while there is none takes the port it knows after LEADERLESS_S.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from sekisho.assembly.duties import Listen
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
from sekisho.registry import Listing, Shelf, Surface, surface_of

__all__ = ["LEADER", "Follower", "Onlooker"]

LEADER: Final = 0
LEADERLESS_S: Final = 5.0
AGREE_S: Final = 65.0
SAY_AGAIN_S: Final = 1.0


class Follower:
    """The duties of any worker but the first."""

    leads = False

    def __init__(
        self,
        places: Places,
        memory: SharedMemory,
        workers: int,
        *,
        withdraw: Callable[[str, str, int | str], bool],
        hear_word: Callable[[str, str, bool], bool],
        make_room: Callable[[], None],
        read_approvals: Callable[[], None],
        port_without_leader: Callable[[], int | None],
    ) -> None:
        self._worker = memory.worker
        self._withdraw = withdraw
        self._hear_word = hear_word
        self._make_room = make_room
        self._read_approvals = read_approvals
        self._port_without_leader = port_without_leader
        self._mates = Mates(places.run, memory.worker, workers, self._take)
        self._told: int | None = None
        self._is_serving = False
        self._replaced: dict[str, asyncio.Event] = {}
        self._change = asyncio.Event()

    def start(self) -> None:
        """Begin to hear the others."""
        self._mates.open()

    async def listen_before(self, listen: Listen) -> None:
        """Not before the plugins are known."""
        del listen

    async def listen_after(self, listen: Listen) -> int:
        """Wait for the leader's word, then share its port."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEADERLESS_S):
                    await self._change.wait()
            port = self._told or self._port_without_leader()
            if port is not None:
                self._read_approvals()  # what the leader approved before it let us in
                opened = await listen(port)
                self._is_serving = True
                self._mates.tell(LEADER, Serving(self._worker))
                return opened

    def noticed_approval(self) -> None:
        """The leader looks for itself."""

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
        """Tell the leader until it says that the plugin server is replaced."""
        replaced = self._replaced.setdefault(plugin, asyncio.Event())
        loop = asyncio.get_running_loop()
        until = loop.time() + AGREE_S
        while not replaced.is_set() and loop.time() < until:
            self._mates.tell(LEADER, Drained(self._worker, plugin))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAY_AGAIN_S):
                    await replaced.wait()
        del self._replaced[plugin]

    def look(self) -> None:
        """The leader speaks first."""

    def problems(self) -> dict[str, str]:
        """The leader knows."""
        return {}

    def close(self) -> None:
        """Hear nothing more."""
        self._mates.close()

    def _take(self, message: Message) -> None:
        match message:
            case Open(port=port):
                self._told = port
                self._change.set()
                if self._is_serving:
                    self._mates.tell(LEADER, Serving(self._worker))
            case Look():
                self._read_approvals()
            case Cancelled(client=client, session=session, request=request):
                self._withdraw(client, session, request)
            case Said(ask=ask, scope=scope, said_yes=said_yes):
                self._hear_word(ask, scope, said_yes)
            case Crowded():
                self._make_room()
            case Replaced(plugin=plugin):
                if plugin in self._replaced:
                    self._replaced[plugin].set()
            case _:
                return


class Onlooker(Shelf):
    """The shelf of a follower: every surface is digested, the leader keeps it."""

    def store(self, plugin: PluginName, listing: Listing, now: float) -> Surface:
        """The surface of a listing."""
        del plugin, now
        return surface_of(listing)
