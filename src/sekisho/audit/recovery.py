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

from dataclasses import dataclass
from typing import Final

from sekisho.audit.counters import Extent
from sekisho.audit.folder import LogFolder
from sekisho.audit.ledger import Leaves, Ledger
from sekisho.audit.lines import numbered, read_records
from sekisho.audit.logfile import LogFile
from sekisho.audit.note import Checkpoint
from sekisho.audit.publisher import Publisher
from sekisho.audit.tree import HASH_BYTES, leaf_hash
from sekisho.errors import Tampered

__all__ = ["count_records", "recover"]

_RUN: Final = 1024  # records whose leaf hashes are compared at a time


def recover(file: LogFile, publisher: Publisher, origin: str, standing: Extent | None = None) -> Ledger:
    """Check the log, cut its torn end, complete its leaf hashes, sign what was not signed yet, and return its tree.

    Args:
        standing: What others who write the log say that it is; what comes behind is theirs, and not looked at.

    Raises:
        Tampered: The records are not the ones that were signed.
    """
    checkpoint = publisher.current()
    end = None if standing is None else standing.length
    found = _replay(file, origin, checkpoint, publisher.folder, end)
    ledger = found.ledger
    if standing is not None and (ledger.size, found.length) != standing:
        raise Tampered("log_tampered", "the log does not have the records that its writers counted")
    if checkpoint is None and ledger.size:
        raise Tampered(
            "log_tampered",
            f"the log has {ledger.size} records and no checkpoint",
            remedy="restore the checkpoint, or move the log away as evidence and start a new one",
        )
    if checkpoint is not None and ledger.size < checkpoint.size:
        raise Tampered("log_tampered", f"{checkpoint.size} records were signed, {ledger.size} are left")
    if found.torn:
        file.cut(found.length)
        file.sync()  # else the next crash could bring back what was cut, where a redo file has other bytes
    if not found.is_right:
        _complete_leaves(file, publisher.folder, found)
    if checkpoint is None or checkpoint.size != ledger.size:
        file.sync()
        publisher.publish(ledger.checkpoint(), ledger.leaves())
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


@dataclass(slots=True)
class _Replay:
    """What was found: the tree, the length of whole records, and how far the stored leaf hashes are right."""

    ledger: Ledger
    length: int = 0
    torn: bool = False
    stored: int = 0
    stored_length: int = 0
    is_right: bool = True


def _replay(
    file: LogFile, origin: str, checkpoint: Checkpoint | None, folder: LogFolder, end: int | None
) -> _Replay:
    found = _Replay(Ledger(origin))
    ledger = found.ledger
    signed = 0 if checkpoint is None else checkpoint.size
    with file.reader() as reader:
        _check_root(ledger, checkpoint)
        for record, whole in read_records(reader, end):
            if not whole:
                found.torn = True
                break
            if ledger.size >= signed and not numbered(record, ledger.size):
                raise Tampered(
                    "log_tampered", f"what follows record {ledger.size - 1} is not record {ledger.size}"
                )
            ledger.add(record)
            found.length += len(record) + 1
            _check_root(ledger, checkpoint)
            if ledger.size % _RUN == 0:
                _compare(found, folder)
    _compare(found, folder)
    return found


def _compare(found: _Replay, folder: LogFolder) -> None:
    """Look at the stored hashes of a run of records; once one is wrong, all behind it are written again."""
    leaves = found.ledger.leaves()
    count = len(leaves.hashes) // HASH_BYTES
    told = b"".join(folder.told_leaves(leaves.first, count)) if found.is_right else b""
    found.is_right = found.is_right and told == leaves.hashes
    if found.is_right:
        found.stored, found.stored_length = found.ledger.size, found.length
    found.ledger.stored(leaves)


def _check_root(ledger: Ledger, checkpoint: Checkpoint | None) -> None:
    if checkpoint is not None and ledger.size == checkpoint.size and ledger.checkpoint() != checkpoint:
        raise Tampered(
            "log_tampered", f"the first {checkpoint.size} records are not the ones that were signed"
        )


def _complete_leaves(file: LogFile, folder: LogFolder, found: _Replay) -> None:
    """Write the leaf hashes that are not stored; never synced, a crash may lose some."""
    leaves: list[bytes] = []
    first = found.stored
    with file.reader() as reader:
        reader.seek(found.stored_length)
        for record, _ in read_records(reader, found.length - found.stored_length):
            leaves.append(leaf_hash(record))
            if len(leaves) == _RUN:
                folder.store(Leaves(first, b"".join(leaves)))
                first += len(leaves)
                leaves.clear()
    folder.store(Leaves(first, b"".join(leaves)))
