"""Those who wait until their records are on disk, and the group commit they share.

Guarantees: whoever comes hears exactly once, after one fdatasync of the log, or one write to its redo file, that began
when its record was written; one runs at a time, and all who come meanwhile share the next one. A redo file that fails
is not used again: the log is synced, and says how it is. After `end` everybody hears why. Knows no records.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from sekisho.audit.clerk import Clerk
from sekisho.audit.hand import Hand, Told
from sekisho.audit.signer import Owner, unsynced
from sekisho.errors import SekishoError

__all__ = ["Done", "Redo", "Waiting", "tell"]

Done = Callable[[SekishoError | None], None]


class Redo(Protocol):
    """Where the end of the log can be made durable sooner than in the log itself (`redo_file`)."""

    def begin(self, told: Told) -> bool:
        """Make durable what the log has now; False: nothing has happened, and the log has to be synced."""


class Waiting:
    """The queue in front of the disk."""

    def __init__(
        self,
        sync: Callable[[], None],
        owner: Owner,
        redo: Redo | None = None,
    ) -> None:
        """`sync` runs in a thread that waits for nothing else."""
        self._owner = owner
        self._clerk = Clerk("audit-sync", sync)
        self._redo = redo
        self._hand = Hand("audit-end")
        self._waiting: list[Done] = []
        self._is_syncing = False
        self._ended: SekishoError | None = None
        self._idle: asyncio.Future[None] | None = None

    def add(self, waiting: list[Done]) -> None:
        """Let them hear when what is written now is on disk."""
        self._waiting += waiting
        self._go_on()

    def end(self, problem: SekishoError) -> None:
        """The log must stop: whoever waits or comes hears `problem`."""
        self._ended = problem
        self._go_on()

    async def idle(self) -> None:
        """Wait until nobody waits."""
        while self._is_syncing:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    async def do(self, work: Callable[[], None]) -> None:
        """Run something in a thread, and raise what it raises."""
        ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def told(failure: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(failure)

        self._hand.do(work, told)
        failure = await ended
        if failure is not None:
            raise failure

    def close(self) -> None:
        """End the threads."""
        self._hand.stop()
        self._clerk.close()

    def _go_on(self) -> None:
        if self._waiting and not self._is_syncing:
            waiting, self._waiting = self._waiting, []
            if self._ended is None:
                self._begin(waiting)
            else:
                tell(waiting, self._ended)
        if not self._is_syncing and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _begin(self, waiting: list[Done]) -> None:
        self._is_syncing = True
        redo = self._redo
        records, started = self._owner.written().records, perf_counter()

        def kept(failure: BaseException | None) -> None:
            if failure is not None:
                self._redo = None
                self._sync_log(waiting)
                return
            self._ended_for(waiting)
            self._owner.durable(records, perf_counter() - started)

        if redo is None or not redo.begin(kept):
            self._sync_log(waiting)

    def _sync_log(self, waiting: list[Done]) -> None:
        written, started = self._owner.written(), perf_counter()

        def synced(failure: BaseException | None) -> None:
            if failure is not None:
                self._owner.end(unsynced(failure))
            else:
                self._owner.synced_behind(written, perf_counter() - started)
            self._ended_for(waiting)

        if not self._clerk.begin(synced):  # after the end, when nothing is known any more
            synced(OSError(errno.EBUSY, os.strerror(errno.EBUSY)))

    def _ended_for(self, waiting: list[Done]) -> None:
        self._is_syncing = False
        self._go_on()
        tell(waiting, self._ended)


def tell(waiting: list[Done], problem: SekishoError | None) -> None:
    """Call everybody; one caller's bug must not silence the callers behind it."""
    told = iter(waiting)
    try:
        for done in told:
            done(problem)
    finally:
        rest = list(told)
        if rest:
            asyncio.get_running_loop().call_soon(tell, rest, problem)
