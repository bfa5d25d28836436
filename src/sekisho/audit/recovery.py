"""What happens to a log before a single record is added: torn bytes go, tampering stops everything.

Guarantees: every record with a line end is kept; only bytes after the last line end are cut off, and only
beyond the signed checkpoint, because nobody was told that they were on record. The records under the
checkpoint add up to its root, or the log is not opened. Records beyond it (written, not yet signed) carry
their own number. A log with records but without checkpoint is refused: its owner would otherwise sign
whatever an intruder left there.

Cannot notice that log and checkpoint were both set back to an older, once true state: only a witness
elsewhere can.
"""

from __future__ import annotations

from sekisho.audit.ledger import DueFiles, Ledger
from sekisho.audit.lines import numbered, read_records
from sekisho.audit.logfile import LogFile
from sekisho.audit.note import Checkpoint
from sekisho.audit.publisher import Publisher
from sekisho.audit.tree import TILE_WIDTH
from sekisho.errors import Tampered

__all__ = ["count_records", "recover"]


def recover(file: LogFile, publisher: Publisher, origin: str) -> Ledger:
    """Check the log, cut its torn end, complete its tiles, sign what was not signed yet, and return its tree.

    Raises:
        Tampered: The records are not the ones that were signed.
    """
    checkpoint = publisher.current()
    ledger, length, torn = _replay(file, origin, checkpoint)
    if checkpoint is None and ledger.size:
        raise Tampered(
            "log_tampered",
            f"the log has {ledger.size} records and no checkpoint",
            remedy="restore the checkpoint, or move the log away as evidence and start a new one",
        )
    if checkpoint is not None and ledger.size < checkpoint.size:
        raise Tampered("log_tampered", f"{checkpoint.size} records were signed, {ledger.size} are left")
    if torn:
        file.cut(length)
    _complete_files(file, publisher, origin)
    if checkpoint is None or checkpoint.size != ledger.size:
        file.sync()
        publisher.publish(ledger.checkpoint(), DueFiles((), ()))
    return ledger


def count_records(file: LogFile) -> int:
    """Return how many records an unprotected log has, after cutting off a torn end."""
    count = length = 0
    with file.reader() as reader:
        for record, whole in read_records(reader):
            if not whole:
                file.cut(length)
                break
            count += 1
            length += len(record) + 1
    return count


def _replay(file: LogFile, origin: str, checkpoint: Checkpoint | None) -> tuple[Ledger, int, bool]:
    ledger = Ledger(origin)
    signed = 0 if checkpoint is None else checkpoint.size
    length = 0
    with file.reader() as reader:
        _check_root(ledger, checkpoint)
        for record, whole in read_records(reader):
            if not whole:
                return ledger, length, True
            if ledger.size >= signed and not numbered(record, ledger.size):
                raise Tampered(
                    "log_tampered", f"what follows record {ledger.size - 1} is not record {ledger.size}"
                )
            ledger.add(record)
            length += len(record) + 1
            _check_root(ledger, checkpoint)
            if ledger.size % TILE_WIDTH == 0:
                ledger.stored(ledger.full_files())  # _complete_files looks at them, after the root was right
    return ledger, length, False


def _check_root(ledger: Ledger, checkpoint: Checkpoint | None) -> None:
    if checkpoint is not None and ledger.size == checkpoint.size and ledger.checkpoint() != checkpoint:
        raise Tampered(
            "log_tampered", f"the first {checkpoint.size} records are not the ones that were signed"
        )


def _complete_files(file: LogFile, publisher: Publisher, origin: str) -> None:
    """Write the full tiles and bundles that are not there; never synced, a crash may lose some."""
    folder = publisher.folder
    ledger = Ledger(origin)
    with file.reader() as reader:
        for record, _ in read_records(reader):
            ledger.add(record)
            if ledger.size % TILE_WIDTH == 0:
                due = ledger.full_files()
                publisher.store(
                    DueFiles(
                        tuple(row for row in due.tiles if not folder.has_tile(row)),
                        tuple(b for b in due.bundles if not folder.has_bundle(b.index, b.entries)),
                    )
                )
                ledger.stored(due)
