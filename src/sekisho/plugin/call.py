"""One running call, as a tool sees it: whether it is still wanted, and a way to say how far it is.

Guarantees that progress only grows, is bounded in number, and goes nowhere when the caller did not ask for it; and that
a call which was cancelled says so at every look. Knows no transport: `send` takes the notes away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from sekisho.plugin.characters import neutralised
from sekisho.plugin.faults import Cancelled

__all__ = ["Call", "ProgressToken"]

MAX_NOTES: Final = 1_000  # a tool that counts every byte must not drown its caller
MAX_NOTE_CHARS: Final = 500
ProgressToken = str | int


class Call:
    """Given to a tool that has a parameter of this type."""

    def __init__(
        self,
        *,
        token: ProgressToken | None = None,
        send: Callable[[dict[str, object]], None] = lambda note: None,
    ) -> None:
        self._token = token
        self._send = send
        self._said = float("-inf")
        self._left = MAX_NOTES
        self._cancelled = threading.Event()
        self._on_cancel: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @property
    def is_cancelled(self) -> bool:
        """Whether the caller withdrew it; what it gives is then thrown away."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when nobody waits any more. Call it between the steps of long work."""
        if self.is_cancelled:
            raise Cancelled("the caller withdrew the call")

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than somebody cares; raises `Cancelled`."""
        self._cancelled.wait(seconds)
        self.check()

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far it is; dropped unless the caller asked for it and it is more than was said before."""
        self.check()
        if self._token is None or not self._said < done < float("inf") or self._left == 0:
            return
        self._said, self._left = done, self._left - 1
        note: dict[str, object] = {"progressToken": self._token, "progress": done}
        if total is not None:
            note["total"] = total
        if message is not None:
            note["message"] = neutralised(message[:MAX_NOTE_CHARS])[0]
        self._send(note)

    def cancel(self) -> None:
        """For the server: the caller withdrew it."""
        with self._lock:
            self._cancelled.set()
            heard = self._on_cancel
        if heard is not None:
            heard()

    def on_cancel(self, heard: Callable[[], None]) -> None:
        """For the server: `heard` is told of the withdrawal, at once if it has been."""
        with self._lock:
            self._on_cancel = heard
            is_late = self._cancelled.is_set()
        if is_late:
            heard()
