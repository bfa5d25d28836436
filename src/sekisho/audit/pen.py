"""The hand that numbers entries and writes them: for a log with one writer.

Guarantees: entries are numbered in the order given, from the number of records in the file on, without gap;
all of a batch are written, or none and no number is used. Knows nothing of syncing, trees and those who wait.
"""

from __future__ import annotations

from typing import Protocol

from sekisho.audit.logfile import LogFile

__all__ = ["Pen", "SolePen", "number"]


class Pen(Protocol):
    """A writer's hand; there is one for a log with one writer, and one for a log with several (`shared_pen`)."""

    file: LogFile

    @property
    def size(self) -> int:
        """The number of records in the file."""

    def write(self, entries: list[bytes]) -> list[bytes]:
        """Number and write entries, all or none; BlockingIOError: not now, try again."""

    def stop(self) -> None:
        """The log must not be written on, by nobody."""

    def is_last(self) -> bool:
        """True when no other process writes the log any more; BlockingIOError: not known now."""

    def close(self) -> None:
        """Give the file back."""


def number(entries: list[bytes], first: int) -> list[bytes]:
    """Return entries as records: their number becomes the first member of each."""
    return [b'{"n":%d,%b' % (n, entry[1:]) for n, entry in enumerate(entries, first)]


class SolePen:
    """The only writer of a log."""

    def __init__(self, file: LogFile, size: int) -> None:
        self.file = file
        self.size = size

    def write(self, entries: list[bytes]) -> list[bytes]:
        """Write entries and return them as records.

        Raises:
            Unavailable: The disk did not take them; trying again may work.
            Tampered: The file is not as this process left it.
        """
        records = number(entries, self.size)
        self.file.append(b"\n".join(records) + b"\n")
        self.size += len(records)
        return records

    def stop(self) -> None:
        """Nobody else has to be told that this log must not be written on."""

    def is_last(self) -> bool:
        """There never was another one."""
        return True

    def close(self) -> None:
        """Give the file back."""
        self.file.close()
