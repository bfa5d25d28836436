"""The log that is written: one JSON line per record, in the event loop, in the order of `append`.

Guarantees
- `done(None)` means that the record is in the file: it survives the death of this process. When the
  durability asks for it, `done(None)` also means that fdatasync has returned: it survives the death of the
  machine.
- `done(error)` means that nothing of the record is in the file or, after a failed sync, that nobody can know.
  A batch is written whole or not at all: a partial write (disk full) is cut off again, and the next one is
  tried.
- `done` is called exactly once, always later than `append` returns. Who need not wait for the disk hears in
  the very loop turn that wrote the record, from no other thread; who must, waits for one fdatasync that began
  after the write, and all who arrive meanwhile share the next one.
- A file changed by somebody else stops the log for good. So does a failed fdatasync, because the kernel may
  report the next one as a success although the data is gone.
- A signed checkpoint follows records within about PUBLISH_INTERVAL_S, once they are synced, and at `close`.

What it costs: two list appends in `append`; per loop turn one fstat and one write() for all its records; per
record about 1 µs of hashing. Syncing and signing run in worker threads. Decides nothing about the
content of entries (`records`), nor about the truth of a log (`recovery`, `verifier`). Works on any asyncio
event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.hand import Hand
from sekisho.audit.ledger import Ledger
from sekisho.audit.logfile import LogFile
from sekisho.audit.notary import Notary, Publication
from sekisho.audit.note import check_origin
from sekisho.audit.pen import SolePen
from sekisho.audit.publisher import Publisher
from sekisho.audit.recovery import count_records, recover
from sekisho.audit.tiles import MAX_ENTRY_BYTES
from sekisho.errors import LocalProtocolError, Misconfigured, SekishoError, Unavailable

__all__ = ["Done", "Durability", "Journal"]

Done = Callable[[SekishoError | None], None]
Durability = Literal["effects", "every", "written"]

PUBLISH_INTERVAL_S: Final = 0.1  # how long a record may stand without a signed checkpoint over it
_LINE_END: Final = 0x0A
_NUMBER_BYTES: Final = 26  # what a number adds to an entry, at most: {"n":9223372036854775807,


class Journal:
    """One open log; made by `Journal.open`, ended by `close`."""

    def __init__(
        self,
        *,
        pen: SolePen,
        notary: Notary | None,
        durability: Durability,
        on_commit: Callable[[int, float], None] | None,
    ) -> None:
        self._pen = pen
        self._file = pen.file
        self._notary = notary
        self._waits_always, self._waits_for_effects = durability == "every", durability == "effects"
        self._on_commit = on_commit
        self._synced_size = pen.size
        # Two threads: records that wait for a sync must not also wait for checkpoints.
        self._syncer = Hand("audit-sync")
        self._press = Hand("audit-press")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: list[bytes] = []
        self._at_once: list[Done] = []  # of the queued entries: who hears when they are written
        self._durable: list[Done] = []  # and who hears when they are synced
        self._waiting: list[Done] = []  # written, not synced
        self._is_syncing = self._is_publishing = self._is_due = self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self._fatal: SekishoError | None = None
        self._write_problem: SekishoError | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        key: Ed25519PrivateKey,
        origin: str,
        *,
        durability: Durability = "effects",
        tamper_protection: bool = True,
        on_commit: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Open or create the log at `path`, lock it, and recover what a crash left.

        Args:
            durability: Which records are acknowledged only after fdatasync: with an effect, every, or none.
            tamper_protection: False keeps the lines only: no tree, no checkpoint, nothing to verify.
            on_commit: Told after every sync: how many records it made durable, and how many seconds it took.

        Raises:
            Misconfigured: The path cannot be used, or another process writes this log.
            Tampered: The records are not the ones that were signed.
        """
        publisher = Publisher(path, key, check_origin(origin))
        try:
            file = LogFile.open_locked(path)
            try:
                ledger = _recovered(file, publisher, origin) if tamper_protection else None
                size = count_records(file) if ledger is None else ledger.size
            except (OSError, SekishoError):
                file.close()
                raise
        except OSError as problem:
            raise Misconfigured("log_unavailable", f"the log {path} cannot be opened: {problem}") from problem
        notary = None if ledger is None else Notary(ledger, publisher)
        return cls(pen=SolePen(file, size), notary=notary, durability=durability, on_commit=on_commit)

    @property
    def size(self) -> int:
        """The number of records in the file."""
        return self._pen.size

    @property
    def problem(self) -> SekishoError | None:
        """Why the log is not healthy; None while the last write, sync and checkpoint succeeded."""
        return self._fatal or self._write_problem or (None if self._notary is None else self._notary.problem)

    @property
    def healthy(self) -> bool:
        """True while the log is open and has no problem."""
        return self.problem is None and not self._is_closed

    def append(self, entry: bytes, *, effect: bool, done: Done) -> None:
        """Queue one entry of `records`; `done` hears later, exactly once, whether it is on record."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if (
            self._is_closed
            or len(entry) > MAX_ENTRY_BYTES - _NUMBER_BYTES
            or _LINE_END in entry
            or entry[:2] != b'{"'
        ):
            loop.call_soon(done, self._refusal(entry))
            return
        if not self._entries:
            loop.call_soon(self._flush)
        self._entries.append(entry)
        if (effect and self._waits_for_effects) or self._waits_always:
            self._durable.append(done)
        else:
            self._at_once.append(done)

    async def close(self) -> None:
        """Write, sync and sign everything, and give the file back.

        Raises:
            Unavailable: Records that were written could not be synced or signed; `recover` finishes it later.
            Tampered: The file is not ours any more.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._loop = asyncio.get_running_loop()
        try:
            self._flush()
            while self._is_syncing or self._is_publishing:
                self._idle = self._loop.create_future()
                await self._idle
            if self._fatal is None:
                await self._last_work()
        except OSError as problem:
            raise Unavailable(
                "log_unavailable", f"the log could not be completed: {problem.strerror}"
            ) from problem
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._syncer.stop()
            self._press.stop()
            self._pen.close()
        if self._fatal is not None:
            raise self._fatal

    def _refusal(self, entry: bytes) -> SekishoError:
        if self._is_closed:
            return Unavailable("log_unavailable", "the log is closed")
        return LocalProtocolError(
            "internal",
            f"an audit entry of {len(entry)} bytes is too long, or not one JSON object on one line",
        )

    def _flush(self) -> None:
        """Write everything queued in this loop turn with one write()."""
        entries, self._entries = self._entries, []
        at_once, self._at_once = self._at_once, []
        durable, self._durable = self._durable, []
        if not entries:
            return
        problem = self._write(entries)
        if problem is not None:
            self._tell(at_once, problem)
            self._tell(durable, problem)
            return
        self._waiting += durable
        self._go_on()
        self._tell(at_once, None)

    def _write(self, entries: list[bytes]) -> SekishoError | None:
        notary = self._notary
        problem = self._fatal or (None if notary is None else notary.overdue())
        if problem is not None:
            return problem
        try:
            records = self._pen.write(entries)
        except Unavailable as problem:
            self._write_problem = problem
            return problem
        except SekishoError as problem:
            self._fatal = problem
            return problem
        self._write_problem = None
        if notary is not None:
            notary.take(records)
        return None

    def _tell(self, waiting: list[Done], problem: SekishoError | None) -> None:
        told = iter(waiting)
        try:
            for done in told:
                done(problem)
        finally:  # one caller's bug must not silence the callers behind it
            rest = list(told)
            if rest and self._loop is not None:
                self._loop.call_soon(self._tell, rest, problem)

    def _go_on(self) -> None:
        """Start what is due: a sync for those who wait, and the timer for the next checkpoint."""
        if self._fatal is not None:
            if not self._is_syncing:
                stranded, self._waiting = self._waiting, []
                self._tell(stranded, self._fatal)
        else:
            if self._waiting and not self._is_syncing:
                self._sync()
            if self._timer is None and not (self._is_publishing or self._is_due or self._is_closed):
                self._set_timer()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _set_timer(self) -> None:
        behind = self._synced_size < self._pen.size or (self._notary is not None and self._notary.is_behind)
        if behind and self._loop is not None:
            self._timer = self._loop.call_later(PUBLISH_INTERVAL_S, self._publish)

    # Syncing, for those who wait: one at a time; whoever arrives meanwhile shares the next one.

    def _sync(self) -> None:
        self._is_syncing = True
        waiting, self._waiting = self._waiting, []
        size, started = self._pen.size, perf_counter()
        publication = self._take_due() if self._is_due else None

        def synced(failure: BaseException | None) -> None:
            self._is_syncing = False
            if failure is not None:
                self._fatal = _unsynced(failure)
            elif publication is not None:
                self._put_out(publication, None)
            elif self._is_due and not self._waiting:
                self._publish()
            self._go_on()
            self._tell(waiting, self._fatal)
            if failure is None:
                self._committed(size, perf_counter() - started)

        self._syncer.do(self._file.sync, synced)

    def _committed(self, size: int, seconds: float) -> None:
        news = max(0, size - self._synced_size)
        self._synced_size += news
        if self._on_commit is not None:
            self._on_commit(news, seconds)

    # Publishing: checkpoints are for readers; nobody waits for them.

    def _publish(self) -> None:
        """Sign what is written; while a sync is under way, its end or the next one takes that along."""
        self._timer = None
        self._is_due = self._fatal is None and not self._is_closed
        if self._is_due and not self._is_syncing:
            size = self._pen.size
            self._put_out(self._take_due(), size if size > self._synced_size else None)

    def _take_due(self) -> Publication | None:
        self._is_due = False
        return None if self._notary is None else self._notary.due()

    def _put_out(self, publication: Publication | None, unsynced_size: int | None) -> None:
        """Put out a publication; when not everything in it is synced, sync it before, behind the others' backs."""
        if publication is None and unsynced_size is None:
            return
        self._is_publishing = True
        started, took = perf_counter(), 0.0

        def work() -> None:
            nonlocal took
            if unsynced_size is not None:
                try:
                    self._file.sync_behind()
                except OSError as problem:
                    raise _unsynced(problem) from problem
                took = perf_counter() - started
            if publication is not None and self._notary is not None:
                self._file.check_in_place()
                self._notary.put_out(publication)

        def ended(failure: BaseException | None) -> None:
            self._is_publishing = False
            fatal = failure if isinstance(failure, SekishoError) else None
            if publication is not None and self._notary is not None:
                fatal = self._notary.ended(publication, failure)
            self._fatal = self._fatal or fatal
            self._go_on()
            if unsynced_size is not None and fatal is None:
                self._committed(unsynced_size, took)

        self._press.do(work, ended)

    async def _last_work(self) -> None:
        """Complete the files for the last time; every other work has ended."""
        ended = asyncio.get_running_loop().create_future()

        def work() -> None:
            self._file.sync()
            if self._notary is not None:
                self._file.check_in_place()
                self._notary.finish()

        def told(failure: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(failure)

        self._press.do(work, told)
        failure = await ended
        if failure is not None:
            raise failure


def _unsynced(failure: BaseException) -> SekishoError:
    return Unavailable(
        "log_unavailable",
        f"the log cannot be synced: {failure}",
        remedy="mend the disk, then restart the gateway; it checks the log when it opens it",
    )


def _recovered(file: LogFile, publisher: Publisher, origin: str) -> Ledger:
    publisher.prepare()
    ledger = recover(file, publisher, origin)
    publisher.announce_key()  # only now: a foreign log keeps the key that belongs to it
    return ledger
