"""The hand that numbers entries and writes them: for a log with several writers, each in its own process.

Guarantees: the numbers of all writers together run without gap or duplicate, in the order of the file; a batch
is written whole or not at all, also when its writer is killed in the middle of it: whoever comes next keeps it
when all of its bytes are there and each line carries its number, and else cuts it off. Nobody was told of such
a batch. Bytes that no writer announced stop all writers for good, and so does a sync that failed for one of
them. Nobody writes on when too many records have no checkpoint over them. Knows nothing of syncing and trees.
"""

from __future__ import annotations

import os
from typing import Final

from sekisho.audit.counters import Counters, Extent
from sekisho.audit.lines import numbered
from sekisho.audit.logfile import LogFile
from sekisho.audit.pen import number
from sekisho.audit.turn import Turn
from sekisho.errors import SekishoError, Tampered, Unavailable

__all__ = ["SharedPen"]

MAX_UNSIGNED_RECORDS: Final = 1 << 17  # as for one writer: unsigned evidence stays bounded


class SharedPen:
    """One of several writers of a log."""

    def __init__(self, file: LogFile, counters: Counters) -> None:
        self.file = file
        self.counters = counters
        self.turn = Turn(counters.descriptor)
        self._leadership: int | None = None

    @property
    def size(self) -> int:
        """The number of records of all writers."""
        return self.counters.standing().records

    def write(self, entries: list[bytes]) -> list[bytes]:
        """Write entries and return them as records.

        Raises:
            BlockingIOError: It is another writer's turn; try again.
            Unavailable: The disk did not take them, or the log was stopped.
            Tampered: The file is not as its writers left it.
        """
        counters = self.counters
        if counters.is_stopped:
            raise _stopped()
        self.turn.take()
        try:
            standing = self.settled()
            if counters.is_signed and standing.records - counters.signed > MAX_UNSIGNED_RECORDS:
                raise Unavailable("log_unavailable", "checkpoints do not keep up with the log")
            records = number(entries, standing.records)
            data = b"\n".join(records) + b"\n"
            counters.announce(
                standing.length, Extent(standing.records + len(records), standing.length + len(data))
            )
            self._add(data)
            counters.commit()
        finally:
            self.turn.give()
        return records

    def _add(self, data: bytes) -> None:
        try:
            self.file.add(data)
        except SekishoError:
            if not self.file.is_torn:  # else whoever comes next has to know whose bytes these are
                self.counters.withdraw()
            raise

    def look(self) -> Extent:
        """Return what stands, and wait for no writer.

        Raises:
            BlockingIOError: It is another writer's turn.
            Tampered: The file is not as its writers left it.
        """
        self.turn.take()
        try:
            return self.settled()
        finally:
            self.turn.give()

    def settled(self) -> Extent:
        """Return what stands, after a dead writer's batch was kept or cut. Only for who has the turn."""
        standing = self.counters.standing()
        state = os.fstat(self.file.descriptor)
        self.file.length = standing.length
        if state.st_size == standing.length and state.st_nlink:
            return standing
        return self._settle(standing, state)

    def _settle(self, standing: Extent, state: os.stat_result) -> Extent:
        announced, length = self.counters.announced(), state.st_size
        if announced is None or not standing.length < length <= announced.length or not state.st_nlink:
            self.stop()
            raise Tampered("log_tampered", f"somebody else changed or removed the log {self.file.path}")
        if length == announced.length and self._is_whole(standing, announced):
            self.counters.commit()
            self.file.length = announced.length
            return announced
        self.file.cut(standing.length)
        self.counters.withdraw()
        return standing

    def _is_whole(self, standing: Extent, announced: Extent) -> bool:
        data = os.pread(self.file.descriptor, announced.length - standing.length, standing.length)
        lines = data.split(b"\n")
        return (
            lines.pop() == b""
            and len(lines) == announced.records - standing.records
            and all(numbered(line, n) for n, line in enumerate(lines, standing.records))
        )

    def stop(self) -> None:
        """Let no writer write on."""
        self.counters.stop()

    def is_last(self) -> bool:
        """True when no other process writes the log any more; then nobody can join either.

        Raises:
            BlockingIOError: It is another writer's turn.
        """
        self.turn.take()
        try:
            # A lock that could not be made exclusive is lost; when it cannot be had again, we write no more anyway.
            return self.file.lock_alone() or not self.file.lock_with_others()
        finally:
            self.turn.give()

    def hold(self, leadership: int) -> None:
        """Keep what makes this process the leader until `close`."""
        self._leadership = leadership

    def close(self) -> None:
        """Give the file back; the others write on."""
        if self._leadership is not None:
            os.close(self._leadership)
        self.counters.close()
        self.file.close()


def _stopped() -> Unavailable:
    return Unavailable(
        "log_unavailable",
        "another worker found that the log cannot be trusted any more",
        remedy="look at that worker's message, then restart the gateway; it checks the log when it opens it",
    )
