"""Checks a log against its signed checkpoint, without trusting the log, its folder, or the process that wrote
it.

Guarantees: an edited, removed, inserted, exchanged or cut-off record under the checkpoint is reported, and
named when the stored leaf hashes still add up to the signed root; so are misnumbered records beyond the checkpoint,
a torn end, an end that a crash took and only the redo file has, and a checkpoint that is not exactly what the given
key signed. Records beyond the checkpoint are
counted as `unsigned`: nothing vouches for them yet. A log set back to an older, once true state together with
its checkpoint is noticed only when the caller passes a later checkpoint that was kept elsewhere (`known`).
Changes nothing, needs no lock, and may run while the log is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sekisho.audit.folder import LogFolder, folder_of
from sekisho.audit.lines import RECORD_LIMITS, numbered, read_records, unreadable
from sekisho.audit.note import Checkpoint, open_checkpoint
from sekisho.audit.redo_file import reach
from sekisho.audit.tree import Frontier, leaf_hash, root_of
from sekisho.errors import SekishoError, Tampered
from sekisho.protocol import check_text

__all__ = ["Problem", "Progress", "Report", "read_checkpoint", "verify"]

MAX_PROBLEMS: Final = 100  # a log rewritten from the start would otherwise report every record
_REMEDY: Final = "its redo file has them, and the next start of the gateway puts them back"
_PROGRESS_EVERY: Final = 4096

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and with which record; None when it concerns the log as a whole."""

    index: int | None
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification found: `size` records are signed, `unsigned` more follow them."""

    records: int
    size: int
    unsigned: int
    root: str
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


class _Number(msgspec.Struct):
    n: int


def verify(
    path: Path,
    key: Ed25519PublicKey,
    *,
    origin: str | None = None,
    known: Sequence[Checkpoint] = (),
    on_progress: Progress | None = None,
) -> Report:
    """Check every record of the log at `path`.

    Args:
        origin: The name the log must have; None accepts any log of this key.
        known: Checkpoints kept elsewhere; the log must still begin with what they describe.
        on_progress: Told now and then: bytes checked, bytes in all.

    Raises:
        Unavailable: The log or its checkpoint cannot be read.
    """
    found: list[Problem] = []
    checkpoint: Checkpoint | None = None
    try:
        checkpoint = read_checkpoint(path, key, origin=origin)
    except Tampered as problem:
        found.append(Problem(None, problem.message))
    stated = [*([] if checkpoint is None else [checkpoint]), *known]
    scan = _Scan(stated)
    found += _read(path, scan, on_progress)
    found += scan.finish()
    if checkpoint is not None and scan.differs_from(checkpoint):
        found = _located(path, checkpoint) + found
    signed = 0 if checkpoint is None else checkpoint.size
    return Report(
        records=scan.records,
        size=signed,
        unsigned=max(0, scan.records - signed),
        root="" if checkpoint is None else checkpoint.root.hex(),
        problems=found[:MAX_PROBLEMS],
    )


def _read(path: Path, scan: _Scan, on_progress: Progress | None) -> list[Problem]:
    """Take every record; returns what was lost in a crash."""
    try:
        reaches = reach(folder_of(path).redo)  # first: what is there is written to the log before
        with path.open("rb") as file:
            total = path.stat().st_size
            for record, whole in read_records(file):
                if not whole:
                    scan.torn = record
                    break
                scan.take(record)
                if on_progress is not None and scan.records % _PROGRESS_EVERY == 0:
                    on_progress(scan.length, total)
        if scan.torn and _is_still_torn(path, scan.length):
            scan.problems.append(Problem(scan.records, "the last record is torn off"))
    except OSError as problem:
        raise unreadable(path, problem) from problem
    if on_progress is not None:
        on_progress(scan.length, scan.length)
    return (
        [Problem(None, f"{reaches - total} bytes were lost in a crash; {_REMEDY}")] if reaches > total else []
    )


def read_checkpoint(path: Path, key: Ed25519PublicKey, *, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint of the log at `path`.

    Raises:
        Tampered: There is none, or it is not exactly what `key` signed.
        Unavailable: It cannot be read.
    """
    try:
        note = folder_of(path).checkpoint.read_bytes()
    except FileNotFoundError as problem:
        raise Tampered("log_tampered", "the log has no checkpoint") from problem
    except OSError as problem:
        raise unreadable(path, problem) from problem
    return open_checkpoint(note, key, origin=origin)


class _Scan:
    """Walks over the records once, and compares roots where a checkpoint states one."""

    def __init__(self, stated: Sequence[Checkpoint]) -> None:
        self.problems: list[Problem] = []
        self.length = 0
        self.torn = b""
        self._frontier = Frontier()
        self._shift = 0
        self._stated = stated
        self._stated_sizes = {checkpoint.size for checkpoint in stated}
        self._roots: dict[int, bytes] = {}
        self._note_root()

    @property
    def records(self) -> int:
        """How many whole records were read."""
        return self._frontier.size

    def take(self, record: bytes) -> None:
        """Count one record in."""
        index = self._frontier.size
        if not numbered(record, index + self._shift):
            self._misnumbered(record, index)
        self._frontier.append(leaf_hash(record))
        self.length += len(record) + 1
        if index + 1 in self._stated_sizes:
            self._note_root()

    def finish(self) -> list[Problem]:
        """Return all problems, those of the log as a whole first."""
        whole: list[Problem] = []
        for checkpoint in self._stated:
            if checkpoint.size > self.records:
                whole.append(Problem(None, f"{checkpoint.size} records were signed, {self.records} are left"))
            elif self.differs_from(checkpoint):
                whole.append(
                    Problem(None, f"the first {checkpoint.size} records are not the ones that were signed")
                )
        return whole + self.problems

    def differs_from(self, checkpoint: Checkpoint) -> bool:
        """True when the records are not those of the checkpoint."""
        return self._roots.get(checkpoint.size) != checkpoint.root

    def _note_root(self) -> None:
        self._roots[self._frontier.size] = self._frontier.root()

    def _misnumbered(self, record: bytes, index: int) -> None:
        """Report a break in the numbering once, not once for every record behind it."""
        if len(self.problems) >= MAX_PROBLEMS:
            return
        try:
            check_text(record, RECORD_LIMITS)
            number = msgspec.json.decode(record, type=_Number).n
        except (SekishoError, msgspec.MsgspecError, UnicodeDecodeError):
            self.problems.append(Problem(index, "is not a record"))
            return
        self._shift = number - index
        what = (
            f"says that it is number {number}"
            if number != index
            else "does not begin like a record of this log"
        )
        self.problems.append(Problem(index, what))


def _is_still_torn(path: Path, offset: int) -> bool:
    """Look again: a log that is being written may have completed its last line since."""
    with path.open("rb") as file:
        file.seek(offset)
        return any(not whole for _, whole in list(read_records(file))[:1])


def _located(path: Path, checkpoint: Checkpoint) -> list[Problem]:
    """Name the changed records, if the stored leaf hashes prove to be those of the signed tree."""
    with path.open("rb") as file:
        present = [leaf_hash(record) for record, whole in read_records(file) if whole][: checkpoint.size]
    original = _signed_leaves(folder_of(path), checkpoint, present)
    if original is None:
        return []
    changed = [Problem(i, "was changed") for i, leaf in enumerate(present) if leaf != original[i]]
    return changed[: MAX_PROBLEMS // 2]


def _signed_leaves(folder: LogFolder, checkpoint: Checkpoint, present: list[bytes]) -> list[bytes] | None:
    """Return the stored leaf hashes, if with the last records' own ones they are those that were signed."""
    leaves = folder.told_leaves(0, checkpoint.size)
    leaves += present[len(leaves) :]
    return leaves if len(leaves) == checkpoint.size and root_of(leaves) == checkpoint.root else None
