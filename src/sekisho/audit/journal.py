"""The log that is written: one JSON line per record, in the order of `append`.

Guarantees
- `done(None)` means that the record is in the file: it survives the death of this process. When the
  durability asks for it, `done(None)` also means that fdatasync has returned: it survives the death of the
  machine.
- `done(error)` means that nothing of the record is in the file or, after a failed sync, that nobody can know.
  A batch is written whole or not at all: a partial write (disk full) is cut off again, and the next one is
  tried.
- `done` is called exactly once, always later than `append` returns. Who need not wait for the disk hears in
  the very loop turn that wrote the record; who must, waits for one fdatasync of the log, or one write to its
  redo file, that began after the write, and all who arrive meanwhile share the next one.
- Several processes may write one log (`shared`, `join`): one order, no gap, no number twice, whoever of them is
  killed at whatever instant; one of them, the leader, signs. A worker that was stopped in the middle of a write
  makes the others refuse after PATIENCE_S, not hang.
- A file changed by somebody else stops the log for good, for all who write it. So does a failed fdatasync,
  because the kernel may report the next one as a success although the data is gone.
- A signed checkpoint follows records within about PUBLISH_INTERVAL_S, once they are synced, and at `close`.

What it costs: two list appends in `append`; per loop turn one fstat and one write() for all its records, with
several writers also one flock and its release; per record about 1 µs of hashing. One thread syncs,
another signs. Decides nothing about the content of entries (`records`),
nor about the truth of a log (`recovery`, `verifier`), nor who may open it (`opening`). Works on any asyncio event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.counters import Extent
from sekisho.audit.note import check_origin
from sekisho.audit.opening import Opened, follow, lead, open_sole
from sekisho.audit.publisher import Publisher
from sekisho.audit.signer import Signer
from sekisho.audit.tiles import MAX_ENTRY_BYTES
from sekisho.audit.turn import PATIENCE_S, RETRY_S, stuck
from sekisho.audit.waiting import Done, Waiting, tell
from sekisho.errors import LocalProtocolError, SekishoError, Unavailable

__all__ = ["Done", "Durability", "Journal"]

Durability = Literal["effects", "every", "written"]

LEAVE_S: Final = 2.0  # a leader that ends waits so long for the others to end
LEAVE_LOOK_S: Final = 0.02
_LINE_END: Final = 0x0A
_OBJECT: Final = 0x7B
_QUOTE: Final = 0x22
_NUMBER_BYTES: Final = 26  # what a number adds to an entry, at most: {"n":9223372036854775807,


class Journal:
    """One open log; made by `Journal.open` or `Journal.join`, ended by `close`."""

    def __init__(
        self, opened: Opened, *, durability: Durability, on_commit: Callable[[int, float], None] | None
    ) -> None:
        self._pen = opened.pen
        self._signer = Signer(opened.pen.file, opened.notary, self, opened.trail) if opened.signs else None
        self._waits_always, self._waits_for_effects = durability == "every", durability == "effects"
        self._on_commit = on_commit
        self._written = self._synced = 0  # records of ours, since the log was opened
        file, self._redo = opened.pen.file, opened.redo
        self._waiting = Waiting(file.sync, self, self._redo)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: list[bytes] = []
        self._at_once: list[Done] = []  # of the queued entries: who hears when they are written
        self._durable: list[Done] = []  # and who hears when they are synced
        self._is_closed = False
        self._patience: float | None = None  # until when another writer may keep us waiting
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
        shared: bool = False,
        on_commit: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Open or create the log at `path`, lock it, and recover what a crash left.

        Args:
            durability: Which records are acknowledged only after fdatasync: with an effect, every, or none.
            tamper_protection: False keeps the lines only: no tree, no checkpoint, nothing to verify.
            shared: Other processes may `join`. This one leads: it alone signs. Only in a running event loop.
            on_commit: Told after every sync: how many records it made durable, and how many seconds it took.

        Raises:
            Misconfigured: The path cannot be used, or another process writes or leads this log.
            Tampered: The records are not the ones that were signed.
            Unavailable: Those who already write stopped, or do not move.
        """
        publisher = Publisher(path, key, check_origin(origin))
        signs = publisher if tamper_protection else None
        if shared:
            opened = lead(path, signs, origin)
        else:
            opened = open_sole(path, signs, origin, waits_for_disk=durability != "written")
        journal = cls(opened, durability=durability, on_commit=on_commit)
        if shared and journal._signer is not None:
            journal._signer.wake()  # what others write has to be signed too
        return journal

    @classmethod
    def join(
        cls,
        path: Path,
        *,
        durability: Durability = "effects",
        on_commit: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Write the log at `path` together with the process that leads it, and others. Needs no key.

        Raises:
            Misconfigured: The path cannot be used, or another process writes this log alone.
            Unavailable: Nobody leads the log, or its leader has not checked it yet. Try again.
        """
        return cls(follow(path), durability=durability, on_commit=on_commit)

    @property
    def size(self) -> int:
        """The number of records in the file."""
        return self._pen.size

    @property
    def problem(self) -> SekishoError | None:
        """Why the log is not healthy; None while the last write, sync and checkpoint succeeded."""
        return self._fatal or self._write_problem or (None if self._signer is None else self._signer.problem)

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
            or len(entry) < 2
            or entry[0] != _OBJECT
            or entry[1] != _QUOTE
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
        """Write, sync and sign everything, and give the file back. A leader lets the others end before it signs.

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
            while self._entries:  # noqa: ASYNC110  # another writer has the turn, which tells no event
                await asyncio.sleep(RETRY_S)
            await self._waiting.idle()
            if self._signer is not None:
                await self._others_left()
                await self._signer.stop()
            if self._fatal is None:
                await self._waiting.do(self._pen.file.sync if self._signer is None else self._signer.finish)
                if self._redo is not None:
                    self._redo.remove()
        except OSError as problem:
            raise Unavailable(
                "log_unavailable", f"the log could not be completed: {problem.strerror}"
            ) from problem
        finally:
            self._waiting.close()
            if self._signer is not None:
                self._signer.close()
            if self._redo is not None:
                self._redo.close()
            self._pen.close()
        if self._fatal is not None:
            raise self._fatal

    async def _others_left(self) -> None:
        """Give those who write with us the time to end, so that the last checkpoint covers them."""
        for _ in range(int(LEAVE_S / LEAVE_LOOK_S)):
            with contextlib.suppress(BlockingIOError):
                if self._fatal is not None or self._pen.is_last():
                    return
            await asyncio.sleep(LEAVE_LOOK_S)

    def _refusal(self, entry: bytes) -> SekishoError:
        if self._is_closed:
            return Unavailable("log_unavailable", "the log is closed")
        return LocalProtocolError(
            "internal",
            f"an audit entry of {len(entry)} bytes is too long, or not one JSON object on one line",
        )

    def _flush(self) -> None:
        """Write everything queued in this loop turn with one write()."""
        entries = self._entries
        if not entries:
            return
        try:
            problem = self._write(entries)
        except BlockingIOError:
            self._come_again()
            return
        self._patience = None
        self._entries = []
        at_once, self._at_once = self._at_once, []
        durable, self._durable = self._durable, []
        if problem is not None:
            tell(durable, problem)
        elif durable:
            self._waiting.add(durable)
        tell(at_once, problem)

    def _write(self, entries: list[bytes]) -> SekishoError | None:
        signer = self._signer
        problem = self._fatal or (None if signer is None else signer.overdue())
        if problem is None and self._patience is not None and perf_counter() > self._patience:
            problem = self._write_problem = stuck()
        if problem is not None:
            return problem
        try:
            records = self._pen.write(entries)
        except Unavailable as refusal:
            self._write_problem = refusal
            return refusal
        except SekishoError as refusal:
            self.end(refusal)
            return refusal
        self._write_problem = None
        self._written += len(records)
        if signer is not None:
            signer.take(records)
        return None

    def _come_again(self) -> None:
        """Another writer has the turn: keep the queue, and try again soon."""
        if self._patience is None:
            self._patience = perf_counter() + PATIENCE_S
        if self._loop is not None:
            self._loop.call_later(RETRY_S, self._flush)

    # What the signer and those who sync ask and tell.

    def written(self) -> Extent:
        """How many records this process has written, and how long the log is."""
        return Extent(self._written, self._pen.file.length)

    def durable(self, records: int, seconds: float) -> None:
        """So many of its records are on disk now."""
        news = max(0, records - self._synced)
        self._synced += news
        if self._on_commit is not None:
            self._on_commit(news, seconds)

    def synced_behind(self, written: Extent, seconds: float) -> None:
        """The same, and the log itself is on disk up to there."""
        if self._redo is not None:
            self._redo.release(written.length)
        self.durable(written.records, seconds)

    def end(self, problem: SekishoError) -> None:
        """The log must not be written on, here or by any other process."""
        if self._fatal is None:
            self._fatal = problem
            self._pen.stop()
            self._waiting.end(problem)
