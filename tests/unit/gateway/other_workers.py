"""Further workers for tests: processes of their own, which end with the test, and with pytest, however either ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from sekisho.assembly.children import die_with_parent
from sekisho.gateway.shared_memory import SharedMemory


class OtherWorkers:
    """Forked from this process; each is ended and collected once, at the latest by `end`."""

    def __init__(self) -> None:
        self._running: set[int] = set()

    def fork(self, work: Callable[[], None]) -> int:
        """Run `work` in a process that shares our mappings; whatever it raises stays there."""
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            try:
                die_with_parent(parent)  # also one that is stopped
                work()
            finally:
                os._exit(0)  # never on into pytest
        self._running.add(child)
        return child

    def pausing_after(self, work: Callable[[], object]) -> int:
        """One that has done its work and lives on."""
        hear, told = os.pipe()

        def work_and_pause() -> None:
            work()
            os.write(told, b"x")
            signal.pause()

        child = self.fork(work_and_pause)
        os.close(told)
        with open(hear, "rb", closefd=True) as pipe:  # noqa: PTH123 - a pipe has no path
            assert pipe.read(1) == b"x", "the other worker did not do its work"
        return child

    def stopped_in(self, memory: SharedMemory) -> int:
        """One that holds the lock of the memory and is stopped."""

        def hold_and_stop() -> None:
            memory.mutex.acquire()
            os.kill(os.getpid(), signal.SIGSTOP)

        child = self.fork(hold_and_stop)
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._running.discard(child)  # it was collected just now
            raise AssertionError("the other worker ended before it was stopped")
        return child

    def kill(self, child: int) -> None:
        """End one, stopped or not, and collect it."""
        self._running.discard(child)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def wait(self, child: int) -> None:
        """Collect one that ends by itself."""
        self._running.discard(child)
        os.waitpid(child, 0)

    def end(self) -> None:
        """End those that are left."""
        for child in tuple(self._running):
            self.kill(child)
