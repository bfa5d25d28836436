"""Walls raised ahead of time: the next instance of a plugin is forked in tens of milliseconds, in walls nobody had.

Guarantees that walls serve one instance and are torn down with it, so that nothing of one client's plugin, its fork
server included, is there when another client's starts; and that one set is kept in reserve, from the first instance on.
A plugin that all clients share is started again within its own walls, and needs none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sekisho.sandbox import Running, Warm

__all__ = ["Spares", "Start"]

Start = Callable[[], Awaitable[Running]]


class Spares:
    """Makes walls for one plugin; `make` is None where it cannot be forked, and `plain` starts it instead."""

    def __init__(self, plain: Start, make: Callable[[], Warm] | None) -> None:
        self._plain = plain
        self._make = make
        self._spare: asyncio.Task[Warm] | None = None

    @asynccontextmanager
    async def listed(self) -> AsyncIterator[Start]:
        """How the listed plugin is started, again and again."""
        if self._make is None:
            yield self._plain
            return
        async with self._make() as warm:
            yield warm.start

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Start]:
        """How one instance is started, once. Leaving tears its walls down."""
        if self._make is None:
            yield self._plain
            return
        async with await self._reserved() or self._make() as warm:

            async def start() -> Running:
                running = await warm.start()
                self._raise_another()  # after the start, not beside it: both cost the same processor
                return running

            yield start

    async def close(self) -> None:
        """Tear down what is kept in reserve."""
        spare, self._spare = self._spare, None
        if spare is None:
            return
        if not spare.done():
            spare.cancel()
        (result,) = await asyncio.gather(spare, return_exceptions=True)
        if isinstance(result, Warm):
            await result.__aexit__(None, None, None)

    async def _reserved(self) -> Warm | None:
        """Walls raised ahead; None if there are none, or if raising them failed, since that may be long ago."""
        spare, self._spare = self._spare, None
        try:
            return None if spare is None else await spare
        except OSError:  # no descriptors left then, say
            return None

    def _raise_another(self) -> None:
        if self._spare is None and self._make is not None:
            self._spare = asyncio.get_running_loop().create_task(_raised(self._make()))


async def _raised(warm: Warm) -> Warm:
    """Walls, or what starts without them; a cancelled one leaves none."""
    try:
        await warm.prepare()
    except BaseException:
        await warm.__aexit__(None, None, None)
        raise
    return warm
