"""Keeps a log signed: at most every PUBLISH_INTERVAL_S, what was written is synced and gets a checkpoint.

Guarantees: one publication at a time, in a worker thread; nobody who appends waits for it. A checkpoint is only
made for records that are on disk. What cannot be mended (the file was replaced, a sync failed) is told as the
error after which the log must stop. Of several writers only the leader has a signer, and its `Trail` leads it
to what the others wrote.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final, Protocol

from sekisho.audit.counters import Extent
from sekisho.audit.hand import Hand
from sekisho.audit.logfile import LogFile
from sekisho.audit.notary import Notary, Publication
from sekisho.errors import SekishoError, Unavailable

__all__ = ["PUBLISH_INTERVAL_S", "Owner", "Signer", "Trail", "unsynced"]

PUBLISH_INTERVAL_S: Final = 0.1  # how long a record may stand without a signed checkpoint over it


class Owner(Protocol):
    """Whose log it is."""

    def written(self) -> Extent:
        """How many records it has written so far, and how long the log is."""

    def durable(self, records: int, seconds: float) -> None:
        """So many of its records are on disk now; waiting for the disk took so long."""

    def synced_behind(self, written: Extent, seconds: float) -> None:
        """The same, and the log itself is on disk up to there."""

    def end(self, problem: SekishoError) -> None:
        """The log must stop."""


class Trail(Protocol):
    """What all writers of one log wrote, as the file tells it."""

    def aim(self) -> bool:
        """Set the mark that `follow` goes to; False when that cannot be known just now."""

    def follow(self) -> bool:
        """Take in a piece of what is new; True while there is more up to the mark."""

    def signed(self, records: int) -> None:
        """So many records have a checkpoint over them."""


class Signer:
    """The one who signs a log; without a notary it only syncs."""

    def __init__(
        self, file: LogFile, notary: Notary | None, owner: Owner, trail: Trail | None = None
    ) -> None:
        self._file = file
        self._notary = notary
        self._owner = owner
        self._trail = trail
        self._press = Hand("audit-press")
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = self._is_stopped = self._has_news = False
        self._idle: asyncio.Future[None] | None = None

    @property
    def problem(self) -> SekishoError | None:
        """Why the last checkpoint could not be written."""
        return None if self._notary is None else self._notary.problem

    def overdue(self) -> SekishoError | None:
        """Return why no more records can be taken before a checkpoint succeeds."""
        return None if self._notary is None else self._notary.overdue()

    def take(self, records: list[bytes]) -> None:
        """Take what was written; what the trail leads to is not taken twice."""
        if self._trail is None and self._notary is not None:
            self._notary.take(records)
        self._has_news = True
        if self._timer is None and not self._is_busy:
            self.wake()

    def wake(self) -> None:
        """Begin to count the time to the next publication."""
        if self._timer is None and not (self._is_busy or self._is_stopped):
            self._timer = asyncio.get_running_loop().call_later(PUBLISH_INTERVAL_S, self._begin)

    async def stop(self) -> None:
        """Publish no more; returns when nothing is under way."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._is_busy:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def finish(self) -> None:
        """Publish for the last time, after `stop`; blocks.

        Raises:
            OSError: It could not be synced or written.
            Tampered: The file is not ours any more.
        """
        if self._trail is not None and self._trail.aim():
            while self._trail.follow():
                pass
        self._file.sync()
        if self._notary is not None:
            self._file.check_in_place()
            size = self._notary.finish()
            if self._trail is not None:
                self._trail.signed(size)

    def close(self) -> None:
        """End the worker thread."""
        self._press.stop()

    def _begin(self) -> None:
        self._timer = None
        self._is_busy = True
        try:
            if self._trail is None or self._trail.aim():
                self._step()
            else:
                self._rest()
        except SekishoError as problem:
            self._fail(problem)
            self._rest()

    def _step(self) -> None:
        """Follow the trail piece by piece, so that calls go on in between; then publish."""
        try:
            more = self._trail is not None and not self._is_stopped and self._trail.follow()
        except SekishoError as problem:
            self._fail(problem)
            self._rest()
            return
        if more:
            asyncio.get_running_loop().call_soon(self._step)
        elif self._has_news or (self._notary is not None and self._notary.is_behind):
            self._has_news = False
            self._publish(None if self._notary is None else self._notary.due())
        else:
            self._rest()

    def _publish(self, publication: Publication | None) -> None:
        written, started, took, is_synced = self._owner.written(), perf_counter(), 0.0, False

        def work() -> None:
            nonlocal took, is_synced
            try:
                self._file.sync_behind()
            except OSError as problem:
                raise unsynced(problem) from problem
            took, is_synced = perf_counter() - started, True
            self._file.check_in_place()
            if publication is not None and self._notary is not None:
                self._notary.put_out(publication)

        def ended(failure: BaseException | None) -> None:
            fatal = failure if isinstance(failure, SekishoError) else None
            if publication is not None and self._notary is not None:
                fatal = self._notary.ended(publication, failure)
                if failure is None and self._trail is not None:
                    self._trail.signed(publication.checkpoint.size)
            if fatal is not None:
                self._fail(fatal)
            elif is_synced:
                self._owner.synced_behind(written, took)
            else:
                self._has_news = True  # nothing was done; it is tried again
            self._rest()

        self._press.do(work, ended)

    def _fail(self, problem: SekishoError) -> None:
        self._is_stopped = True
        self._owner.end(problem)

    def _rest(self) -> None:
        self._is_busy = False
        if self._trail is not None or self._has_news or (self._notary is not None and self._notary.is_behind):
            self.wake()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


def unsynced(failure: BaseException) -> Unavailable:
    """Return the error of a log whose disk failed."""
    return Unavailable(
        "log_unavailable",
        f"the log cannot be synced: {failure}",
        remedy="mend the disk, then restart the gateway; it checks the log when it opens it",
    )
