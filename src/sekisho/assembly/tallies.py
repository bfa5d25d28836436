"""What each worker has counted, in files of the run folder, so that one page of metrics speaks for all.

Guarantees that counters do not run backwards when a worker is restarted: it goes on from what its predecessor wrote
last (at most a second before its end). Counts of an earlier run of the house are not taken over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from sekisho.telemetry import Metrics, Tally, exposition

__all__ = ["Tallies"]


class _Sheet(msgspec.Struct):
    """One worker's counts; `house` is the process that started it."""

    house: int
    tally: Tally


class Tallies:
    """The counts of one worker, and how to read those of the others."""

    def __init__(self, folder: Path, worker: int, metrics: Metrics) -> None:
        self._folder = folder
        self._worker = worker
        self._metrics = metrics
        self._house = os.getppid()
        self._written = b""

    def take_over(self) -> None:
        """Go on from what our predecessor counted: calls, times and records; not its plugins or calls under way."""
        before = self._read(self._worker)
        if before is not None:
            counted = Tally(
                calls=before.calls,
                seconds=before.seconds,
                refusals=before.refusals,
                records=before.records,
                sync_seconds=before.sync_seconds,
            )
            self._metrics.tally.add(counted)

    def write(self) -> None:
        """Show the others our counts; a disk that is full costs freshness only."""
        data = msgspec.json.encode(_Sheet(self._house, self._metrics.tally))
        if data == self._written:
            return
        draft = self._path(self._worker).with_suffix(".tally.new")
        with suppress(OSError):
            draft.write_bytes(data)
            draft.replace(self._path(self._worker))
            self._written = data

    def page(self, others: Iterable[int]) -> tuple[str, bytes]:
        """Content type and text of /metrics, for us and these other workers."""
        found = [self._read(worker) for worker in others]
        return exposition([self._metrics.tally, *(one for one in found if one is not None)])

    def _read(self, worker: int) -> Tally | None:
        try:
            sheet = msgspec.json.decode(self._path(worker).read_bytes(), type=_Sheet)
        except (OSError, msgspec.MsgspecError):
            return None
        return sheet.tally if sheet.house == self._house else None

    def _path(self, worker: int) -> Path:
        return self._folder / f"core-{worker}.tally"
