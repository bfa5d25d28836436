"""How a log is opened: alone, as the leader of several writers, or as one who joins a leader.

Guarantees: a log has one writer, or one leader and those who joined it, never both kinds (flock on the log:
exclusive or shared) and never two leaders (flock on a file beside it); the kernel takes these locks from the
dead. Nobody joins before a leader has checked the log, and nobody joins a log that no living process writes. A
leader that is alone recovers the log as a sole writer does. One that finds others writing checks everything
that stands without holding them up: they go on while it reads.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from sekisho.audit.counters import Counters, Extent
from sekisho.audit.folder import folder_of
from sekisho.audit.ledger import Ledger
from sekisho.audit.logfile import LogFile, foreign
from sekisho.audit.notary import Notary
from sekisho.audit.pen import Pen, SolePen
from sekisho.audit.publisher import Publisher
from sekisho.audit.recovery import count_records, recover
from sekisho.audit.redo_file import RedoFile, replay
from sekisho.audit.shared_pen import SharedPen
from sekisho.audit.trail import FileTrail
from sekisho.errors import Misconfigured, SekishoError, Tampered, Unavailable

__all__ = ["Opened", "follow", "lead", "open_sole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A log that is open: the hand that writes it, and for the one who signs it the tree."""

    pen: Pen
    signs: bool
    notary: Notary | None = None
    trail: FileTrail | None = None
    redo: RedoFile | None = None


def open_sole(
    path: Path, publisher: Publisher | None, origin: str, *, waits_for_disk: bool = False
) -> Opened:
    """Open the log at `path` for one writer; without a publisher it is neither checked nor signed.

    With `waits_for_disk` it has a redo file, where the disk offers one.

    Raises:
        Misconfigured: The path cannot be used, or another process writes this log.
        Tampered: The records are not the ones that were signed.
    """
    try:
        file = LogFile.open_locked(path)
        try:
            notary, size = _recovered(file, publisher, origin)
        except (OSError, SekishoError):
            file.close()
            raise
    except OSError as problem:
        raise _unusable(path, problem) from problem
    redo = RedoFile.create(publisher.folder.redo, file) if waits_for_disk and publisher is not None else None
    return Opened(pen=SolePen(file, size), signs=True, notary=notary, redo=redo)


def lead(path: Path, publisher: Publisher | None, origin: str) -> Opened:
    """Open the log at `path` as the leader of several writers.

    Raises:
        Misconfigured: The path cannot be used, or another process writes or leads this log.
        Tampered: The records are not the ones that were signed.
        Unavailable: Those who already write stopped, or do not move.
    """
    try:
        file = LogFile.open_unlocked(path)
        try:
            counters = Counters.create(_beside(path, "counters"))
        except (OSError, SekishoError):
            file.close()
            raise
        pen = SharedPen(file, counters)
        try:
            return _take_the_lead(pen, publisher, origin)
        except (OSError, SekishoError) as problem:
            if isinstance(problem, Tampered):
                pen.stop()
            pen.close()
            raise
    except OSError as problem:
        raise _unusable(path, problem) from problem


def follow(path: Path) -> Opened:
    """Join those who write the log at `path`.

    Raises:
        Misconfigured: The path cannot be used, or another process writes this log alone.
        Unavailable: Nobody leads the log, or its leader has not checked it yet.
    """
    try:
        counters = Counters.attach(_beside(path, "counters"))
        try:
            file = LogFile.open_unlocked(path)
        except OSError:
            counters.close()
            raise
        pen = SharedPen(file, counters)
        try:
            _join(pen)
        except (OSError, SekishoError):
            pen.close()
            raise
    except OSError as problem:
        raise _unusable(path, problem) from problem
    return Opened(pen=pen, signs=False)


def _take_the_lead(pen: SharedPen, publisher: Publisher | None, origin: str) -> Opened:
    pen.turn.wait()  # one process opens at a time
    try:
        pen.hold(_leadership(pen.file.path))
        pen.counters.is_ready = False
        alone = _opened_alone(pen, publisher, origin) if pen.file.lock_alone() else None
        if not pen.file.lock_with_others():
            raise foreign(pen.file.path)
        standing = _standing_of_others(pen) if alone is None else alone[1]
    finally:
        pen.turn.give()
    notary = _recovered(pen.file, publisher, origin, standing)[0] if alone is None else alone[0]
    pen.counters.signed = standing.records
    pen.counters.is_ready = True
    return Opened(pen=pen, signs=True, notary=notary, trail=FileTrail(pen, notary, standing))


def _opened_alone(pen: SharedPen, publisher: Publisher | None, origin: str) -> tuple[Notary | None, Extent]:
    notary, size = _recovered(pen.file, publisher, origin)
    standing = Extent(size, pen.file.length)
    pen.counters.begin(os.fstat(pen.file.descriptor), standing, is_signed=publisher is not None)
    return notary, standing


def _join(pen: SharedPen) -> None:
    file, counters = pen.file, pen.counters
    pen.turn.wait()
    try:
        if file.lock_alone():
            raise Unavailable("log_unavailable", "no process leads the log")
        if not file.lock_with_others():
            raise foreign(file.path)
        if not (counters.is_ready and counters.counts(os.fstat(file.descriptor))):
            raise Unavailable("log_unavailable", "the leader has not checked the log yet")
        pen.settled()
    finally:
        pen.turn.give()


def _standing_of_others(pen: SharedPen) -> Extent:
    """Return what stands according to writers who are at work."""
    if pen.counters.is_stopped or not pen.counters.counts(os.fstat(pen.file.descriptor)):
        raise Unavailable(
            "log_unavailable",
            "the other workers stopped writing this log, or count another file",
            remedy="stop them all, then start the gateway; it checks the log when it opens it",
        )
    return pen.settled()


def _recovered(
    file: LogFile, publisher: Publisher | None, origin: str, standing: Extent | None = None
) -> tuple[Notary | None, int]:
    if standing is None:
        replay(folder_of(file.path).redo, file)
    if publisher is None:
        return None, count_records(file) if standing is None else standing.records
    publisher.prepare()
    ledger: Ledger = recover(file, publisher, origin, standing)
    publisher.announce_key()  # only now: a foreign log keeps the key that belongs to it
    return Notary(ledger, publisher), ledger.size


def _leadership(log: Path) -> int:
    """Return a descriptor whose lock makes this process the leader."""
    descriptor = os.open(_beside(log, "leader"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        os.close(descriptor)
        raise Misconfigured(
            "log_unavailable",
            f"another process leads the log {log}",
            remedy="start every other worker to join it",
        ) from problem
    return descriptor


def _beside(log: Path, what: str) -> Path:
    return log.with_name(f"{log.name}.{what}")


def _unusable(path: Path, problem: OSError) -> Misconfigured:
    return Misconfigured("log_unavailable", f"the log {path} cannot be opened: {problem}")
