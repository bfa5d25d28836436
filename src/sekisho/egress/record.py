"""What the ledger of a plugin says, read back: the newest events, oldest first.

Four files at most are read, which is all there ever is: what simply went through has files of its own (`ledger`). A line
that cannot be read (half written, or of another version) is left out: this is the operator's view, and the proof is the
audit log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any

from sekisho.egress.ledger import PASSED_SUFFIX

__all__ = ["LedgerEntry", "entry_of", "read_entries"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One line of a ledger; `left_out` counts refusals before it that were not written."""

    time: str
    kind: str
    host: str
    port: int
    allowed: bool
    reason: str
    bytes: int
    learned: bool = False
    left_out: int = 0


def read_entries(folder: Path, plugin: str) -> Iterator[LedgerEntry]:
    """The events of one plugin; nothing when there is no ledger of it."""
    yield from merge(
        *(_entries_of(folder / f"{plugin}{suffix}") for suffix in (PASSED_SUFFIX, ".jsonl")),
        key=attrgetter("time"),
    )


def _entries_of(newest: Path) -> Iterator[LedgerEntry]:
    for path in (newest.with_name(newest.name + ".1"), newest):
        try:
            with path.open(encoding="ascii", errors="replace") as lines:
                for line in lines:
                    entry = entry_of(line)
                    if entry is not None:
                        yield entry
        except FileNotFoundError:
            continue


def entry_of(line: str) -> LedgerEntry | None:
    """One line; None for what cannot be read."""
    try:
        fields: dict[str, Any] = json.loads(line)
        return LedgerEntry(
            time=str(fields["time"]),
            kind=str(fields["kind"]),
            host=str(fields["host"]),
            port=int(fields["port"]),
            allowed=fields["allowed"] is True,
            reason=str(fields["reason"]),
            bytes=int(fields["bytes"]),
            learned=fields.get("learned") is True,
            left_out=int(fields.get("left_out", 0)),
        )
    except (ValueError, TypeError, KeyError):
        return None
