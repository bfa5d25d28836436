"""How the leader learns what all writers of a log wrote: it reads the file, as far as its writers say it stands.

Guarantees: every record is taken in once, in the order of the file, and their number is the one the writers
counted. Reads in pieces that take well under a millisecond, because the leader serves calls too. What somebody
changes in the file before it is read here (within PUBLISH_INTERVAL_S of being written) is not noticed; with one
writer it would be.
"""

from __future__ import annotations

import os
from typing import Final

from sekisho.audit.counters import Extent
from sekisho.audit.notary import Notary
from sekisho.audit.shared_pen import SharedPen
from sekisho.errors import Tampered

__all__ = ["FileTrail"]

_PIECE_BYTES: Final = 1 << 17  # at least one line; about 400 records, which take half a millisecond


class FileTrail:
    """The trail of one log, from `start` on."""

    def __init__(self, pen: SharedPen, notary: Notary | None, start: Extent) -> None:
        self._pen = pen
        self._notary = notary
        self._at = self._mark = start

    def aim(self) -> bool:
        """Set the mark that `follow` goes to; False when another writer does not give up its turn.

        Raises:
            Tampered: The file is not as its writers left it.
        """
        try:
            self._mark = self._pen.look()
        except BlockingIOError:
            return False
        return True

    def follow(self) -> bool:
        """Take in a piece of what is new; True while there is more up to the mark.

        Raises:
            Tampered: The file does not have what its writers wrote.
        """
        left = self._mark.length - self._at.length
        if left <= 0 or self._notary is None:
            self._at = self._mark
            return False
        data = os.pread(self._pen.file.descriptor, min(left, _PIECE_BYTES), self._at.length)
        data = data[: data.rfind(b"\n") + 1]
        records = data.split(b"\n")
        records.pop()
        self._at = Extent(self._at.records + len(records), self._at.length + len(data))
        is_there = self._at.length == self._mark.length
        if not records or (is_there and self._at.records != self._mark.records):
            self._pen.stop()
            raise Tampered("log_tampered", "the log does not have the records that its writers counted")
        self._notary.take(records)
        return not is_there

    def signed(self, records: int) -> None:
        """So many records have a checkpoint over them."""
        self._pen.counters.signed = records
