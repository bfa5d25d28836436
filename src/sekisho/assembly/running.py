"""What every process of ours does first and last: the loop, the signals, and the one error it ends with.

And how many processes the core is.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Final

import uvloop

from sekisho.config import CoreConfig
from sekisho.errors import SekishoError

__all__ = ["run_until_stopped", "worker_count"]

MOST_WORKERS: Final = 32  # what the shared memory has places for


def run_until_stopped(
    work: Coroutine[None, None, None], *, on_hangup: Callable[[], None] | None = None
) -> None:
    """Run `work` until it ends or SIGTERM or SIGINT asks it to. Of several errors of ours, the first is raised."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_stoppable(work, on_hangup))
    except BaseExceptionGroup as group:
        ours, others = group.split(SekishoError)
        if others is not None or ours is None:
            raise
        raise _first(ours) from group


def worker_count(config: CoreConfig) -> int:
    """How many core processes the configuration asks for."""
    return config.core_server.workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)


async def _stoppable(work: Coroutine[None, None, None], on_hangup: Callable[[], None] | None) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if on_hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


def _first(group: BaseExceptionGroup[SekishoError]) -> SekishoError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, SekishoError)  # noqa: S101  # split() leaves only these
    return found
