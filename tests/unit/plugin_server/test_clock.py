from __future__ import annotations

import asyncio
import math

from sekisho.plugin_server.clock import Clock

WAIT_S = 5.0
SHORT_S = 0.01


class Entry:
    """Notes when its time is over."""

    def __init__(self, entries: dict[int, Entry], deadline: float) -> None:
        self.deadline = deadline
        self.ended = asyncio.Event()
        self._entries = entries
        self._key = len(entries)
        entries[self._key] = self

    def withdraw(self, reason: str) -> None:
        raise AssertionError(reason)

    def overdue(self) -> None:
        del self._entries[self._key]
        self.ended.set()


async def test_each_entry_ends_at_its_own_time_in_whatever_order_it_was_added() -> None:
    now = asyncio.get_running_loop().time()
    entries: dict[int, Entry] = {}
    clock = Clock(entries.values())
    late = Entry(entries, now + 3600)
    clock.watch(late.deadline)
    soon = [Entry(entries, now + factor * SHORT_S) for factor in (2, 1)]
    for entry in soon:
        clock.watch(entry.deadline)
    for entry in soon:
        await asyncio.wait_for(entry.ended.wait(), WAIT_S)
    assert not late.ended.is_set()
    assert clock.next_at == late.deadline
    clock.stop()


async def test_an_entry_whose_deadline_moved_away_is_looked_at_too_early_and_lives() -> None:
    now = asyncio.get_running_loop().time()
    entries: dict[int, Entry] = {}
    clock = Clock(entries.values())
    entry = Entry(entries, now + SHORT_S)
    clock.watch(entry.deadline)
    entry.deadline = now + 4 * SHORT_S
    await asyncio.wait_for(entry.ended.wait(), WAIT_S)
    assert asyncio.get_running_loop().time() >= now + 3 * SHORT_S
    assert clock.next_at == math.inf


async def test_nothing_wakes_up_after_it_was_stopped() -> None:
    entries: dict[int, Entry] = {}
    clock = Clock(entries.values())
    entry = Entry(entries, asyncio.get_running_loop().time())
    clock.watch(entry.deadline)
    clock.stop()
    await asyncio.sleep(0)
    assert not entry.ended.is_set()
