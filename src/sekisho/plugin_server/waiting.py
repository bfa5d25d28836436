"""Calls that came while their plugin was being started: kept until it takes them, each no longer than it may last.

Guarantees that a call which waits here is answered once: by the plugin in what is left of its time, or by a refusal.
Knows neither why the plugin did not run nor who starts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from sekisho.errors import SekishoError
from sekisho.wire import Inbound

__all__ = ["Waiting"]

MAX_WAITING: Final = 64  # each at most a message long, while the plugin starts


class Waiting:
    """The calls that wait for one process; none lasts longer than `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._calls: dict[Inbound, tuple[float, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def hold(self, inbound: Inbound) -> None:
        """Keep a call until `release`."""
        if len(self._calls) >= MAX_WAITING:
            inbound.fail("busy", "the plugin is being started, and many calls wait already")
            return
        timeout_s = min(inbound.frame.timeout_s, self._timeout_s)
        deadline = self._loop.time() + timeout_s
        self._calls[inbound] = (
            deadline,
            self._loop.call_at(deadline, partial(self._overdue, inbound, timeout_s)),
        )

    def withdraw(self, inbound: Inbound) -> bool:
        """Forget a call that nobody waits for any more; False when it is not here."""
        found = self._calls.pop(inbound, None)
        if found is not None:
            found[1].cancel()
        return found is not None

    def release(self, take: Callable[[Inbound], None]) -> None:
        """The plugin takes calls: hand each over with the time that is left of it."""
        calls, self._calls = self._calls, {}
        for inbound, (deadline, alarm) in calls.items():
            alarm.cancel()
            left_s = max(deadline - self._loop.time(), 0.0)
            inbound.frame = inbound.frame.within(left_s)
            take(inbound)

    def refuse(self, reason: SekishoError) -> None:
        """Nothing more is waited for."""
        calls, self._calls = self._calls, {}
        for inbound, (_, alarm) in calls.items():
            alarm.cancel()
            inbound.fail(reason.code, reason.message)

    def _overdue(self, inbound: Inbound, timeout_s: float) -> None:
        if self._calls.pop(inbound, None) is not None:
            inbound.fail("plugin_timeout", f"the plugin did not start within {timeout_s:g} s")
