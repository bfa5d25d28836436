"""Children whose walls are being raised: whether they stand, fail, or take too long; nobody waits for one of them.

Guarantees
- a child is handed on when it has said all that it says before its walls stand, and when its watcher has said whether
  it listens; not before, for until then the gate is the watcher's to read;
- one that fails, that takes longer than its bound, or whose watcher goes is killed and reaped before that is told;
- however long one takes, the others and the launcher go on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Container
from typing import Final

from sekisho.launcher.children import Child, end_first_process
from sekisho.launcher.watcher import Watcher

__all__ = ["Births"]

SET_UP_S: Final = 10.0  # a child whose walls do not stand by then never will
MAX_COMPLAINT_BYTES: Final = 4096


class Births:
    """Those that have their launch and do not stand yet.

    Args:
        poll: the launcher's, which says what is readable.
        fail: what to do with one that is dead and reaped; its complaint says why.
    """

    def __init__(self, poll: select.poll, fail: Callable[[Child], None]) -> None:
        self._poll = poll
        self._fail = fail
        self._children: dict[int, Child] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._children)

    @property
    def due_at(self) -> float | None:
        """When one of them will have taken too long."""
        waiting = [child.due_at for child in self._children.values() if not child.complaint]
        return min(waiting, default=None)

    def begin(self, child: Child) -> None:
        """It has its launch."""
        child.due_at = time.monotonic() + SET_UP_S
        self._children[child.id] = child
        self._poll.register(child.failure, select.POLLIN)
        if child.watcher is not None:
            self._poll.register(child.watcher.line, select.POLLIN)

    def kill(self, number: int) -> None:
        """Its owner does not want it any more; what it left to us is ended when it is known."""
        child = self._children.get(number)
        if child is not None:
            child.is_unwanted = True
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)  # not reaped yet

    def attend(self, ready: Container[int], now: float) -> list[Child]:
        """Hear those that have something to say; returns the ones whose walls stand."""
        standing = []
        for child in list(self._children.values()):
            if child.complaint:
                if child.pidfd in ready:
                    self._bury(child)
                continue
            if self._has_failed(child, ready):
                continue
            if child.is_raised and (child.watcher is None or child.watcher.listens is not None):
                del self._children[child.id]
                standing.append(child)
            elif now >= child.due_at:
                self._end(child, "the child did not start in time")
        return standing

    def _has_failed(self, child: Child, ready: Container[int]) -> bool:
        """Hear it and its watcher."""
        if child.failure in ready:
            self._read_failure(child)
        watcher = None if child.complaint else child.watcher  # of who has failed nothing more is heard
        if watcher is not None and watcher.line.fileno() in ready:
            self._hear(child, watcher)
        return bool(child.complaint)

    def _hear(self, child: Child, watcher: Watcher) -> None:
        told = watcher.hear()
        if told is not None:
            child.told += told
        elif watcher.listens is False:  # there is nothing to hear, and it has gone
            self._poll.unregister(watcher.line)
        else:
            self._end(child, "its watcher is gone")

    def _read_failure(self, child: Child) -> None:
        """What it says before it becomes bwrap, or its program; nothing when the exec closed its end."""
        text = os.read(child.failure, MAX_COMPLAINT_BYTES)
        self._close_failure(child)
        if text:
            self._end(child, text.decode(errors="replace"))
        else:
            child.is_raised = True

    def _close_failure(self, child: Child) -> None:
        self._poll.unregister(child.failure)
        os.close(child.failure)
        child.failure = -1

    def _end(self, child: Child, complaint: str) -> None:
        """Kill it; its end comes over its process."""
        if child.failure >= 0:
            self._close_failure(child)
        if child.watcher is not None:
            with contextlib.suppress(KeyError):
                self._poll.unregister(child.watcher.line)
        child.complaint = complaint
        self._poll.register(child.pidfd, select.POLLIN)
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)

    def _bury(self, child: Child) -> None:
        os.waitpid(child.pid, 0)
        self._poll.unregister(child.pidfd)
        if child.kind == "native":
            end_first_process(child)
        del self._children[child.id]
        self._fail(child)
