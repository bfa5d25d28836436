"""The log that is written: one JSON line per record, in the event loop, in the order of `append`.

Guarantees
- `done(None)` means that the record is in the file: it survives the death of this process. When the
  durability asks for it, `done(None)` also means that fdatasync has returned: it survives the death of the
  machine.
- `done(error)` means that nothing of the record is in the file or, after a failed sync, that nobody can know.
  A batch is written whole or not at all: a partial write (disk full) is cut off again, and the next one is
  tried.
- `done` is called exactly once, always later than `append` returns.
- A file changed by somebody else stops the log for good. So does a failed fdatasync, because the kernel may
  report the next one as a success although the data is gone.
- A signed checkpoint follows synced records within about PUBLISH_INTERVAL_S, and at `close`.

What it costs: encoding in `append`; one write() per loop turn for all records of that turn; hashing about 1
µs each. Syncing, signing and tiles run in worker threads. Decides nothing about the content of entries
(`records`), nor about the truth of a log (`recovery`, `verifier`). Works on any asyncio event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.ledger import DueFiles, Ledger
from sekisho.audit.logfile import LogFile
from sekisho.audit.note import Checkpoint, check_origin
from sekisho.audit.publisher import Publisher
from sekisho.audit.recovery import count_records, recover
from sekisho.audit.tiles import MAX_ENTRY_BYTES
from sekisho.errors import LocalProtocolError, Misconfigured, SekishoError, Unavailable

__all__ = ["Done", "Durability", "Journal"]

Done = Callable[[SekishoError | None], None]
Durability = Literal["effects", "every", "written"]

PUBLISH_INTERVAL_S: Final = 0.1  # how long a record may stand without a signed checkpoint over it
MAX_UNSIGNED_RECORDS: Final = 1 << 17  # when checkpoints fail, memory and unsigned evidence stay bounded


@dataclass(frozen=True, slots=True)
class _Publication:
    checkpoint: Checkpoint
    files: DueFiles


class Journal:
    """One open log; made by `Journal.open`, ended by `close`."""

    def __init__(
        self,
        *,
        file: LogFile,
        size: int,
        ledger: Ledger | None,
        publisher: Publisher,
        durability: Durability,
        on_commit: Callable[[int, float], None] | None,
    ) -> None:
        self._file = file
        self._size = self._synced_size = self._published_size = size
        self._ledger = ledger
        self._publisher = publisher
        self._durability = durability
        self._on_commit = on_commit
        self._encode = msgspec.json.Encoder().encode
        # Two threads: records that wait for a sync must not also wait for tiles being written.
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="audit")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: list[tuple[bytes, bool, Done]] = []
        self._waiting: list[Done] = []
        self._syncing: asyncio.Future[None] | None = None
        self._publishing: asyncio.Future[None] | None = None
        self._published_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._fatal: SekishoError | None = None
        self._write_problem: SekishoError | None = None
        self._publish_problem: SekishoError | None = None

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
        return cls(
            file=file,
            size=size,
            ledger=ledger,
            publisher=publisher,
            durability=durability,
            on_commit=on_commit,
        )

    @property
    def size(self) -> int:
        """The number of records in the file."""
        return self._size

    @property
    def problem(self) -> SekishoError | None:
        """Why the log is not healthy; None while the last write, sync and checkpoint succeeded."""
        return self._fatal or self._write_problem or self._publish_problem

    @property
    def healthy(self) -> bool:
        """True while the log is open and has no problem."""
        return self.problem is None and not self._is_closed

    def append(self, entry: Mapping[str, object], *, effect: bool, done: Done) -> int:
        """Queue one record; `done` hears later, exactly once, whether it is on record.

        Returns:
            The number of the record in the log. It holds only when `done` gets None.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        queue = self._queue
        index = self._size + len(queue)
        try:
            queue.append((self._record(index, entry), effect, done))
        except SekishoError as problem:
            loop.call_soon(done, problem)
        else:
            if len(queue) == 1:
                loop.call_soon(self._flush)
        return index

    async def close(self) -> None:
        """Write, sync and sign everything, and give the file back.

        Raises:
            Unavailable: Records that were written could not be synced or signed; `recover` finishes it later.
            Tampered: The file is not ours any more.
        """
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        try:
            self._flush()
            while running := [f for f in (self._syncing, self._publishing) if f is not None]:
                await asyncio.wait(running)
            if self._fatal is None:
                await loop.run_in_executor(self._pool, self._finish)
                self._publish_problem = None  # the last checkpoint made up for those that failed
        except OSError as problem:
            raise Unavailable(
                "log_unavailable", f"the log could not be completed: {problem.strerror}"
            ) from problem
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._pool.shutdown(wait=True)
            self._file.close()
        if self._fatal is not None:
            raise self._fatal

    def _record(self, index: int, entry: Mapping[str, object]) -> bytes:
        if self._is_closed:
            raise Unavailable("log_unavailable", "the log is closed")
        try:
            body = self._encode(entry)
        except (TypeError, ValueError) as problem:
            raise LocalProtocolError("internal", f"an audit entry cannot be encoded: {problem}") from problem
        record = b'{"n":%d,%b' % (index, body[1:])
        if len(record) > MAX_ENTRY_BYTES or len(body) == 2 or "n" in entry:
            raise LocalProtocolError("internal", "an audit entry is empty, too long, or numbers itself")
        return record

    def _flush(self) -> None:
        """Write everything queued in this loop turn with one write()."""
        queue, self._queue = self._queue, []
        if not queue:
            return
        records = [record for record, _, _ in queue]
        problem = self._write(b"\n".join(records) + b"\n")
        if problem is not None:
            self._tell([done for _, _, done in queue], problem)
            return
        self._size += len(records)
        if self._ledger is not None:
            for record in records:
                self._ledger.add(record)
        at_once: list[Done] = []
        waits_always, waits_never = self._durability == "every", self._durability == "written"
        for _, effect, done in queue:
            (self._waiting if waits_always or (effect and not waits_never) else at_once).append(done)
        self._go_on()
        self._tell(at_once, None)

    def _write(self, data: bytes) -> SekishoError | None:
        if self._fatal is not None:
            return self._fatal
        if self._ledger is not None and self._size - self._published_size > MAX_UNSIGNED_RECORDS:
            return self._publish_problem or Unavailable(
                "log_unavailable", "checkpoints do not keep up with the log"
            )
        try:
            self._file.append(data)
        except Unavailable as problem:
            self._write_problem = problem
            return problem
        except SekishoError as problem:
            self._fatal = problem
            return problem
        self._write_problem = None
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

    # Syncing: one at a time; whoever arrives meanwhile shares the next one.

    def _go_on(self) -> None:
        """Start what is due: a sync for those who wait, else a timer for the next checkpoint."""
        if self._syncing is not None or self._loop is None:
            return
        if self._fatal is not None:
            stranded, self._waiting = self._waiting, []
            self._tell(stranded, self._fatal)
        elif self._waiting:
            self._sync()
        elif self._timer is None and not self._is_closed and self._has_unfinished():
            self._timer = self._loop.call_later(PUBLISH_INTERVAL_S, self._sync)

    def _has_unfinished(self) -> bool:
        return self._synced_size < self._size or (
            self._ledger is not None and self._published_size < self._size
        )

    def _sync(self) -> None:
        loop = self._loop
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._syncing is not None or loop is None:
            return
        waiting, self._waiting = self._waiting, []
        size, started = self._size, loop.time()
        publication = self._due_publication(started)

        def synced(future: asyncio.Future[None]) -> None:
            self._syncing = None
            failure = future.exception()
            news = size - self._synced_size
            if failure is None:
                self._synced_size = size
                if publication is not None:
                    self._publish(publication)
            else:
                self._fatal = Unavailable(
                    "log_unavailable",
                    f"the log cannot be synced: {failure}",
                    remedy="mend the disk, then restart the gateway; it checks the log when it opens it",
                )
            self._go_on()
            self._tell(waiting, self._fatal)
            if failure is None and self._on_commit is not None:
                self._on_commit(news, loop.time() - started)

        self._syncing = loop.run_in_executor(self._pool, self._file.sync)
        self._syncing.add_done_callback(synced)

    # Publishing: checkpoints are for readers; nobody waits for them.

    def _due_publication(self, now: float) -> _Publication | None:
        if self._ledger is None or self._publishing is not None or self._published_size == self._size:
            return None
        if now - self._published_at < PUBLISH_INTERVAL_S:
            return None
        self._published_at = now
        return _Publication(self._ledger.checkpoint(), self._ledger.full_files())

    def _publish(self, publication: _Publication) -> None:
        loop, ledger = self._loop, self._ledger
        if loop is None or ledger is None:
            return

        def published(future: asyncio.Future[None]) -> None:
            self._publishing = None
            failure = future.exception()
            if failure is None:
                self._published_size = publication.checkpoint.size
                ledger.stored(publication.files)
                self._publish_problem = None
            elif isinstance(failure, OSError):
                self._publish_problem = Unavailable(
                    "log_unavailable", f"the checkpoint cannot be written: {failure.strerror}"
                )
            else:
                self._fatal = (
                    failure if isinstance(failure, SekishoError) else Unavailable("internal", str(failure))
                )
            self._go_on()

        self._publishing = loop.run_in_executor(self._pool, self._put_out, publication)
        self._publishing.add_done_callback(published)

    def _put_out(self, publication: _Publication) -> None:
        self._file.check_in_place()
        self._publisher.publish(publication.checkpoint, publication.files)

    def _finish(self) -> None:
        """Complete the files for the last time; every other worker has ended."""
        self._file.sync()
        if self._ledger is None:
            return
        self._put_out(_Publication(self._ledger.checkpoint(), self._ledger.full_files()))
        with contextlib.suppress(OSError):  # a full disk: log and checkpoint stand without partial tiles
            self._publisher.store(self._ledger.partial_files())


def _recovered(file: LogFile, publisher: Publisher, origin: str) -> Ledger:
    publisher.prepare()
    ledger = recover(file, publisher, origin)
    publisher.announce_key()  # only now: a foreign log keeps the key that belongs to it
    return ledger
