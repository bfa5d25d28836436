"""The audit log as one core process has it: opened by the leader, joined by the others, written in events.

Guarantees that a process that joins waits a bounded time for the leader to have checked the log. Events before the log
is open are not recorded. Calls are recorded by the road itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sekisho.assembly.identities import audit_key
from sekisho.audit import Journal, records
from sekisho.config import CoreConfig
from sekisho.errors import SekishoError, Unavailable
from sekisho.keys import KeyFolder
from sekisho.telemetry import Metrics

__all__ = ["Logbook"]

JOIN_S: Final = 60.0  # the leader reads the whole log before anybody may join it
JOIN_LOOK_S: Final = 0.1


def _whatever(problem: SekishoError | None) -> None:
    """Nobody waits for this event; a log that fails is known to every call."""


class Logbook:
    """Events of one core process in the log, from `open` to `close`."""

    def __init__(self, config: CoreConfig, home: Path, keys: KeyFolder, metrics: Metrics) -> None:
        self._path = config.audit_log(home)
        self._audit = config.audit
        self._origin = f"{config.core_server.trust_domain}/audit"
        self._keys = keys
        self._metrics = metrics
        self._journal: Journal | None = None

    async def open(self, *, leads: bool, shared: bool) -> Journal:
        """Open the log, as its only or first writer, or join it."""
        self._journal = self._led(shared=shared) if leads else await self._joined()
        return self._journal

    def _led(self, *, shared: bool) -> Journal:
        return Journal.open(
            self._path,
            audit_key(self._keys),
            self._origin,
            durability=self._audit.durability,
            tamper_protection=self._audit.tamper_protection,
            shared=shared,
            on_commit=self._metrics.committed,
        )

    async def _joined(self) -> Journal:
        deadline = time.monotonic() + JOIN_S
        while True:
            try:
                return Journal.join(
                    self._path, durability=self._audit.durability, on_commit=self._metrics.committed
                )
            except Unavailable:  # the leader is still checking the log, or is being started again
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(JOIN_LOOK_S)

    def record(
        self,
        name: str,
        fields: Mapping[str, str | int | bool | None],
        done: Callable[[SekishoError | None], None] = _whatever,
    ) -> None:
        """Record an event; `done` hears whether it is in the file."""
        if self._journal is not None:
            entry = records.event(now=time.time(), name=name, **fields)
            self._journal.append(entry, effect=False, done=done)
