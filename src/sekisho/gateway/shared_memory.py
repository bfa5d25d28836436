"""What the workers of one core share: limits, what is under way, ended sessions; one file, mapped by all.

Guarantees
- The file is ours alone (0600, our user, no link) and its blocks exist before it is mapped: a full disk fails
  the start, not a store.
- Every worker has a place of its own, held by a lock on a file that ends with its process; `is_alive` asks for it.
- Whoever finds nobody else there makes lock and places anew, so that what a crash left cannot stay locked. Rates
  and ended sessions stay: a restart gives nobody a fresh limit and no session back its life. It gives the run a new
  name: who lost power may have lost what was noted last.

With one worker none of this exists, but for the proofs of possession that it saw. Knows bytes and places;
`shared_limits`, `berths`, `seats`, `budgets`, `request_ids` and `sessions` know meanings.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import stat
import threading
import time
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.gateway.robust_mutex import MUTEX_BYTES, RobustMutex
from sekisho.gateway.shared_counts import SharedCounts
from sekisho.gateway.shared_table import DIGEST_BYTES, SharedTable

__all__ = ["MAX_WORKERS", "SharedMemory"]

MAX_WORKERS: Final = (
    32  # a plugin server takes 64 channels: one of each worker, and for moments its replacement
)
# of 32 places: 131,072 clients and plugins, as many ended sessions, and as many requests under way; 9 MiB together
BUCKETS: Final = 4096
SHARE_BUCKETS: Final = 512  # of 32: 16,384 names with calls, connections or streams at one time; 2.5 MiB
PLACE_WAIT_S: Final = 1.0
_MAGIC: Final = b"sekisho/shared/3"
_SALT_AT: Final = 16
_SALT_BYTES: Final = 16
_RUN_AT: Final = 32
_RUN_BYTES: Final = 16
_MUTEX_AT: Final = 64
_ENDINGS_AT: Final = 128
_COUNTERS_AT: Final = 256
_COUNTERS_STEP: Final = 64  # a cache line for each worker: counting must not make the others wait
_BYTES: Final = 1  # in that line: calls under way come first, then bytes kept, then whether there is a worker
_IS_THERE: Final = 2
_TABLES_AT: Final = 4096
_TABLE_BYTES: Final = SharedTable.size(BUCKETS)
_REQUESTS_AT: Final = _TABLES_AT + 2 * _TABLE_BYTES
_COUNTS_AT: Final = _TABLES_AT + 3 * _TABLE_BYTES
_SIZE: Final = _COUNTS_AT + SharedCounts.size(SHARE_BUCKETS, MAX_WORKERS)


class SharedMemory:
    """The mapping of one worker."""

    def __init__(self, folder: Path, worker: int, workers: int = MAX_WORKERS) -> None:
        if not 0 <= worker < workers <= MAX_WORKERS:
            raise Misconfigured(
                "config_invalid", f"worker {worker} of {workers}: at most {MAX_WORKERS} can be"
            )
        self.worker = worker
        self.workers = workers
        self._folder = folder
        self._descriptors: list[int] = []
        try:
            self._enter()
        except BaseException:
            self._leave()
            raise

    def _enter(self) -> None:
        alive = self._keep(_open_private(self._alive_path(self.worker)))
        _wait_for(alive, self.worker)
        file = self._keep(_open_private(self._folder / "core.shared"))
        if _claim(file):
            _prepare(file)
            os.pwrite(file, secrets.token_bytes(_RUN_BYTES), _RUN_AT)
            self._map(file)
            self._start_anew()
            fcntl.flock(file, fcntl.LOCK_SH)
        else:
            self._map(file)
        self._drop(self.worker)  # our predecessor's ended with it
        self.counters[self._counter(self.worker) + _IS_THERE] = 1

    def _leave(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    def _map(self, file: int) -> None:
        if os.fstat(file).st_size != _SIZE or os.pread(file, len(_MAGIC), 0) != _MAGIC:
            raise Misconfigured(
                "config_invalid",
                "the workers that run are of another version",
                remedy="stop all of them, then start again",
            )
        self.memory = mmap.mmap(file, _SIZE)
        self.counters = memoryview(self.memory).cast("q")
        self.mutex = RobustMutex(self.memory, _MUTEX_AT)
        self.salt = bytes(self.memory[_SALT_AT : _SALT_AT + _SALT_BYTES])
        self.run = self.memory[_RUN_AT : _RUN_AT + _RUN_BYTES].hex()
        """Names the time since all workers began, or began again together."""
        self.rates = SharedTable(self.memory, self.counters, _TABLES_AT, BUCKETS)
        self.endings = SharedTable(self.memory, self.counters, _TABLES_AT + _TABLE_BYTES, BUCKETS)
        self.requests = SharedTable(self.memory, self.counters, _REQUESTS_AT, BUCKETS)
        """Requests under way by session and id; the stamp is the worker's number and one."""
        self.shares = SharedCounts(
            self.memory,
            self.counters,
            _COUNTS_AT,
            SHARE_BUCKETS,
            worker=self.worker,
            workers=self.workers,
            most_workers=MAX_WORKERS,
        )
        first, step = _COUNTERS_AT // 8, _COUNTERS_STEP // 8
        self.calls = slice(first, first + step * self.workers, step)
        """Where in `counters` the calls under way stand, of all workers."""
        self.own_calls = self._counter(self.worker)
        """Where ours stand; nobody else writes there while we live."""
        self.kept = slice(first + _BYTES, first + _BYTES + step * self.workers, step)
        """Where in `counters` the bytes stand that are kept for connections, of all workers."""
        self.own_bytes = self.own_calls + _BYTES

    def _start_anew(self) -> None:
        for worker in range(MAX_WORKERS):
            self._drop_counters(worker)
        self.shares.clear()
        self.requests.clear()
        self.mutex.initialise()

    def _drop(self, worker: int) -> None:
        self.shares.drop(worker)
        self.requests.drop(worker + 1)
        self._drop_counters(worker)

    def _drop_counters(self, worker: int) -> None:
        first = self._counter(worker)
        for at in range(first, first + _IS_THERE + 1):
            self.counters[at] = 0

    def digest(self, text: bytes) -> bytes:
        """The name of a thing in these tables."""
        return hashlib.blake2b(text, digest_size=DIGEST_BYTES, key=self.salt).digest()

    def open_beside(self, name: str) -> int:
        """A further file of the same workers, as private as this one; whoever asks closes it."""
        return _open_private(self._folder / name)

    # calls under way

    def in_flight(self) -> int:
        """Calls under way of all workers."""
        return sum(self.counters[self.calls])

    def free_the_dead(self) -> bool:
        """Take what workers that ended had out of every count; True when there was such a worker."""
        freed = False
        for worker in range(MAX_WORKERS):
            if worker == self.worker or not self.counters[self._counter(worker) + _IS_THERE]:
                continue
            held = self._hold_if_dead(worker)
            if held is None:
                continue
            try:  # while we hold its place no successor counts there
                self._drop(worker)
                freed = True
            finally:
                os.close(held)
        return freed

    def is_alive(self, worker: int) -> bool:
        """True while a process holds this worker's place."""
        if worker == self.worker:
            return True
        held = self._hold_if_dead(worker)
        if held is None:
            return True
        os.close(held)
        return False

    # how often a session was ended, so that a memo knows when to ask again

    @property
    def ended_count(self) -> int:
        """Grows with every ended session."""
        count: int = self.counters[_ENDINGS_AT // 8]
        return count

    def count_ending(self) -> None:
        """Say that a session was ended; under the lock."""
        self.counters[_ENDINGS_AT // 8] += 1

    def close(self) -> None:
        """Give the place back."""
        self.mutex.close()
        self.shares.close()
        self.counters.release()
        self.memory.close()
        self._leave()

    def _hold_if_dead(self, worker: int) -> int | None:
        descriptor = _open_private(self._alive_path(worker))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _alive_path(self, worker: int) -> Path:
        return self._folder / f"core-{worker}.alive"

    @staticmethod
    def _counter(worker: int) -> int:
        return (_COUNTERS_AT + worker * _COUNTERS_STEP) // 8


def _open_private(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Misconfigured(
            "config_invalid", f"{path} cannot be used: {error.strerror}", remedy="remove it"
        ) from error
    facts = os.fstat(descriptor)
    if facts.st_uid != os.getuid() or not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
        os.close(descriptor)
        raise Misconfigured("config_invalid", f"{path} is not ours alone", remedy="remove it")
    return descriptor


def _wait_for(alive: int, worker: int) -> None:
    """Take the place of a worker; who asks whether we live holds it for moments, a predecessor until it ends."""
    pause, until = threading.Event(), time.monotonic() + PLACE_WAIT_S
    while True:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise Misconfigured(
                    "config_invalid", f"worker {worker} runs already", remedy="stop the other gateway first"
                ) from error
            pause.wait(PLACE_WAIT_S / 100)
        else:
            return


def _claim(file: int) -> bool:
    """True when nobody else has the file open (then it is ours to make); else joined to the others."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(file, fcntl.LOCK_SH)  # waits while somebody makes it
        return False
    return True


def _prepare(file: int) -> None:
    """Give the file its size and head; what it knows stays when the head is ours."""
    try:
        if os.fstat(file).st_size == _SIZE and os.pread(file, len(_MAGIC), 0) == _MAGIC:
            return
        os.ftruncate(file, 0)
        os.posix_fallocate(file, 0, _SIZE)
        os.pwrite(file, secrets.token_bytes(_SALT_BYTES), _SALT_AT)
        os.pwrite(file, _MAGIC, 0)
    except OSError as error:
        raise Misconfigured(
            "config_invalid",
            f"the workers' shared file cannot be made: {error.strerror}",
            remedy="free 16 MiB on the disk of the home folder",
        ) from error


assert _COUNTERS_AT + MAX_WORKERS * _COUNTERS_STEP <= _TABLES_AT  # noqa: S101  # the head holds all places
assert _MUTEX_AT + MUTEX_BYTES <= _ENDINGS_AT  # noqa: S101
