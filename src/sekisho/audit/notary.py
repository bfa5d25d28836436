"""Signs what is on disk: grows the tree, and puts out leaf hashes and a checkpoint for what the journal wrote.

Guarantees: what was not put out is kept and put out with the next checkpoint, so a disk that was full for a
while leaves no hole; how much may pile up that way is bounded. Decides nothing about when, and runs in no
thread of its own: `journal` does both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekisho.audit.ledger import Leaves, Ledger
from sekisho.audit.note import Checkpoint
from sekisho.audit.publisher import Publisher
from sekisho.errors import SekishoError, Unavailable

__all__ = ["Notary", "Publication"]

MAX_UNSIGNED_RECORDS: Final = 1 << 17  # when checkpoints fail, memory and unsigned evidence stay bounded


@dataclass(frozen=True, slots=True)
class Publication:
    """A checkpoint, and the leaf hashes that have to be stored before it."""

    checkpoint: Checkpoint
    leaves: Leaves


class Notary:
    """The tree of one log and the folder it is published in."""

    def __init__(self, ledger: Ledger, publisher: Publisher) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._published_size = ledger.size
        self.problem: SekishoError | None = None

    def take(self, records: list[bytes]) -> None:
        """Take records that were written."""
        self._ledger.extend(records)

    @property
    def is_behind(self) -> bool:
        """True while there are records without a signed checkpoint over them."""
        return self._published_size < self._ledger.size

    def overdue(self) -> SekishoError | None:
        """Return why no more records can be taken before a checkpoint succeeds."""
        if self._ledger.size - self._published_size <= MAX_UNSIGNED_RECORDS:
            return None
        return self.problem or Unavailable("log_unavailable", "checkpoints do not keep up with the log")

    def due(self) -> Publication:
        """Return what has to be put out for the records taken so far."""
        return Publication(self._ledger.checkpoint(), self._ledger.leaves())

    def put_out(self, publication: Publication) -> None:
        """Write a publication whose records are on disk. Touches no state: made for another thread."""
        self._publisher.publish(publication.checkpoint, publication.leaves)

    def ended(self, publication: Publication, failure: BaseException | None) -> SekishoError | None:
        """Note how putting out ended; returns the error after which the log must stop, if it was one."""
        match failure:
            case None:
                self._published_size = publication.checkpoint.size
                self._ledger.stored(publication.leaves)
                self.problem = None
            case OSError():
                self.problem = Unavailable(
                    "log_unavailable", f"the checkpoint cannot be written: {failure.strerror}"
                )
            case SekishoError():
                return failure
            case _:
                return Unavailable("internal", str(failure))
        return None

    def finish(self) -> int:
        """Put everything out for the last time; returns how many records are signed."""
        publication = self.due()
        self.put_out(publication)
        self.problem = None  # this one made up for those that failed
        return publication.checkpoint.size
