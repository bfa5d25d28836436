"""The ledger of a plugin as it grows: what is there, then what comes, in the order it was written.

- Nothing is told twice, and nothing is lost where a file is rotated between two looks, or is not there yet.
- A line that is half written is told once it is whole.

Looks when it is asked to; how often is the caller's affair. What a line says is `record`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, Final, Self

from sekisho.egress.ledger import PASSED_SUFFIX
from sekisho.egress.record import LedgerEntry, entry_of

__all__ = ["LedgerFollower"]

MAX_LINE_BYTES: Final = 64 << 10  # of our own lines none is as long; what is, is dropped


class LedgerFollower:
    """Both files of one plugin's ledger."""

    def __init__(self, folder: Path, plugin: str) -> None:
        self._files = [_Growing(folder / f"{plugin}{suffix}") for suffix in (PASSED_SUFFIX, ".jsonl")]

    def new(self) -> list[LedgerEntry]:
        """What was written since the last look, oldest first."""
        found = [
            entry for file in self._files for line in file.new() if (entry := entry_of(line)) is not None
        ]
        return sorted(found, key=attrgetter("time"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        with ExitStack() as stack:
            for file in self._files:
                stack.callback(file.close)


class _Growing:
    """One file that is appended to, and once in a while moved aside to `NAME.1` while a new one is begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._file: BinaryIO | None = None
        try:
            self._file = path.with_name(path.name + ".1").open("rb")
        except FileNotFoundError:
            self._open()

    def new(self) -> Iterator[str]:
        if self._file is None:
            self._open()
        while self._file is not None:
            yield from self._read(self._file)
            if not self._is_moved(self._file):
                return
            yield from self._read(self._file)  # what came before it was moved
            self._open()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        self.close()
        self._rest = b""
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _is_moved(self, file: BinaryIO) -> bool:
        try:
            return not os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False  # moved, and nothing came since

    def _read(self, file: BinaryIO) -> Iterator[str]:
        for line in file:
            self._rest += line
            if self._rest.endswith(b"\n"):
                yield self._rest.decode("ascii", "replace")
            elif len(self._rest) <= MAX_LINE_BYTES:
                return
            self._rest = b""
