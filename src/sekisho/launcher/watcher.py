"""The launcher's side of a plugin's watcher: forks it off, hands it the listener, hears what it tells.

Guarantees that nothing here waits for a watcher longer than its bound, and that it is gone when its plugin is. What it
does is said in `watch`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import Any, Final

from sekisho.launcher.kernel import close_others, die_with_parent, entitle
from sekisho.launcher.watch import watch

__all__ = ["Watcher", "start_watcher"]

NAME: Final = "sekisho-watcher"
SET_UP_S: Final = 10.0  # as long as the launcher waits for a child
END_S: Final = 1.0  # its plugin is dead by then, and it has only words to say


class Watcher:
    """The launcher's side: hand it the listener, tell it what happens, hear what it tells."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.line = line
        self.is_done = False  # it has told everything

    def listens(self) -> bool:
        """Whether it has the listener; asked when the walls stand, for it was sent while they were raised."""
        waiting = select.poll()
        waiting.register(self.line, select.POLLIN)
        return bool(waiting.poll(SET_UP_S * 1000)) and self.line.recv(16) == b"listens"

    def let_go(self) -> None:
        """Give the plugin's first process the word at its gate."""
        self.line.send(b"go")

    def hear(self) -> list[dict[str, Any]] | None:
        """What it tells now; None when it will tell nothing more."""
        heard: list[dict[str, Any]] = []
        while True:
            try:
                data = self.line.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return heard
            except ConnectionError:
                return None
            if not data:
                return heard or None
            message = json.loads(data)
            self.is_done = self.is_done or message["event"] == "over"
            if not self.is_done:
                heard.append(message)

    def finish(self) -> list[dict[str, Any]]:
        """The last it has to tell, after the plugin has ended; then it is gone."""
        told: list[dict[str, Any]] = []
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)
        waiting = select.poll()
        waiting.register(self.line, select.POLLIN)
        while not self.is_done and waiting.poll(END_S * 1000):
            heard = self.hear()
            if heard is None:
                break
            told += heard
        self.dismiss()
        return told

    def dismiss(self) -> None:
        """End it."""
        self.line.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # ours, and not reaped yet: nobody else has its number
        os.waitpid(self.pid, 0)


def start_watcher(request: dict[str, Any], gate: socket.socket) -> Watcher:
    """Fork it off; `gate` is the launcher's end of the one at which bwrap waits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    launcher = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return Watcher(pid, ours)
    try:
        ours.close()
        close_others({theirs.fileno(), gate.fileno()})
        die_with_parent(launcher)
        entitle(NAME)
        watch(request, gate, theirs)
    finally:
        os._exit(0)
