"""Those who wait until their records are on disk, and the group commit they share.

Guarantees: whoever comes hears exactly once, after one fdatasync that began when its record was written; one
runs at a time, and all who come meanwhile share the next one. After `end` everybody hears why. Knows no
records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from sekisho.audit.hand import Hand
from sekisho.audit.kernel_sync import KernelSync
from sekisho.audit.signer import Owner, unsynced
from sekisho.errors import SekishoError

__all__ = ["Done", "Waiting", "tell"]

Done = Callable[[SekishoError | None], None]


class Waiting:
    """The queue in front of the disk."""

    def __init__(self, sync: Callable[[], None], owner: Owner, kernel: KernelSync | None = None) -> None:
        """`kernel` does the same as `sync` where the kernel can; `sync` itself runs in a thread."""
        self._sync = sync
        self._owner = owner
        self._kernel = kernel
        self._hand = Hand("audit-sync")
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
        """Run something in the thread of the syncs, and raise what it raises."""
        ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def told(failure: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(failure)

        self._hand.do(work, told)
        failure = await ended
        if failure is not None:
            raise failure

    def close(self) -> None:
        """End the thread."""
        self._hand.stop()
        if self._kernel is not None:
            self._kernel.close()

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
        written, started = self._owner.written(), perf_counter()

        def synced(failure: BaseException | None) -> None:
            self._is_syncing = False
            if failure is not None:
                self._owner.end(unsynced(failure))
            self._go_on()
            tell(waiting, self._ended)
            if failure is None:
                self._owner.synced_behind(written, perf_counter() - started)

        if self._kernel is None or not self._kernel.begin(synced):
            self._hand.do(self._sync, synced)


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
