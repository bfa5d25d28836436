"""Children that have ended, and their watchers: the last is told, then the end, and nobody waits for either.

Guarantees
- what a watcher still has to tell is told before the end of its plugin is, unless it takes longer than its bound;
- a watcher that is not needed any more is killed, and reaped when it has ended, however long the kernel takes.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Container
from typing import Any, Final, NamedTuple

from sekisho.launcher.watcher import Watcher

__all__ = ["Farewells"]

END_S: Final = 1.0  # the plugin is dead by then, and its watcher has only words to say

Tell = Callable[[dict[str, Any]], None]


class _Ended(NamedTuple):
    watcher: Watcher
    message: dict[str, Any]
    due_at: float


class Farewells:
    """Those that have ended.

    Args:
        poll: the launcher's, which says what is readable.
        tell: how a message goes to the owner.
        leave: what to do when the end of one has been told.
    """

    def __init__(self, poll: select.poll, tell: Tell, leave: Callable[[], None]) -> None:
        self._poll = poll
        self._tell = tell
        self._leave = leave
        self._ended: list[_Ended] = []
        self._resting: list[Watcher] = []
        self._dismissed: list[Watcher] = []

    @property
    def due_at(self) -> float | None:
        """When somebody will have taken too long."""
        return min((one.due_at for one in self._ended), default=None)

    def end(self, watcher: Watcher | None, message: dict[str, Any]) -> None:
        """All of it has ended; `message` says how, and is told when its watcher has told the last."""
        if watcher is None:
            self._tell(message)
            self._leave()
            return
        watcher.ask_for_the_last()
        now = time.monotonic()
        self._ended.append(_Ended(watcher, message, now + END_S))
        self._poll.register(watcher.line, select.POLLIN)  # once more, where it was not there any more
        if watcher.is_done:
            self.attend({watcher.line.fileno()}, now)

    def tidy(self) -> None:
        """Dismiss those that have told the last: the end of a process takes a millisecond, which the owner need not wait
        for.
        """
        while self._resting:
            self.dismiss(self._resting.pop())

    def dismiss(self, watcher: Watcher) -> None:
        """Nobody needs it any more."""
        with contextlib.suppress(KeyError):
            self._poll.unregister(watcher.line)
        watcher.dismiss()
        self._dismissed.append(watcher)
        self._poll.register(watcher.pidfd, select.POLLIN)

    def attend(self, ready: Container[int], now: float) -> None:
        """Hear those that have something to say, and collect who is gone."""
        for one in list(self._ended):
            watcher = one.watcher
            if watcher.line.fileno() not in ready and now < one.due_at:
                continue
            told = watcher.hear()
            for message in told or ():
                self._tell(message | {"id": one.message["id"]})
            if told is None or watcher.is_done or now >= one.due_at:
                self._ended.remove(one)
                with contextlib.suppress(KeyError):
                    self._poll.unregister(watcher.line)
                self._resting.append(watcher)
                self._tell(one.message)
                self._leave()
        for watcher in list(self._dismissed):
            if watcher.pidfd in ready:
                self._poll.unregister(watcher.pidfd)
                watcher.reap()
                self._dismissed.remove(watcher)
