"""The launcher's side of a plugin's watcher: has one ready, hands it its launch, hears what it tells.

Guarantees
- a watcher is forked before anybody asks for it, and knows nothing of a plugin until it has its launch; it watches one
  plugin, and is gone when that one is;
- nothing here waits for a watcher: what it says comes over its line, and its end over its process.

What it does is said in `watch`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import Any, Final, Self

from sekisho.launcher.kernel import close_others, die_with_parent, entitle, receive
from sekisho.launcher.request import FOR_WATCHER, read_request
from sekisho.launcher.watch import rehearse, watch

__all__ = ["Watcher"]

FIRST_WORDS: Final = (b"listens", b"silent")
NAME: Final = "sekisho-watcher"


class Watcher:
    """The launcher's side: hand it the listener, tell it what happens, hear what it tells."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)  # before anything can reap it, so it names this process for ever
        self.line = line
        self.listens: bool | None = None  # whether it has the listener; None until it says so
        self.is_done = False  # it has told everything

    @classmethod
    def fork(cls) -> Self:
        """One that waits for its launch, and goes with its line."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        launcher = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(pid, ours)
        try:
            ours.close()
            close_others({theirs.fileno()})
            die_with_parent(launcher)
            entitle(NAME)
            rehearse()
            close_others({theirs.fileno()})  # what the rehearsal opened goes
            told, fds = receive(theirs)
            if told:
                request = read_request(fds[0], FOR_WATCHER)
                os.close(fds[0])
                watch(request, socket.socket(fileno=fds[1]), theirs)
                rest(theirs)
        finally:
            os._exit(0)

    def tell(self, request: int, gate: socket.socket) -> bool:
        """Hand it its launch, and the launcher's end of the gate, at which the listener comes; False when it is gone."""
        try:
            socket.send_fds(self.line, [b"watch"], [request, gate.fileno()])
        except ConnectionError:
            return False
        return True

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
            if data in FIRST_WORDS:
                self.listens = data == b"listens"
                continue
            message = json.loads(data)
            if message["event"] == "over":
                self.is_done = True
            else:
                heard.append(message)

    def ask_for_the_last(self) -> None:
        """Its plugin has ended: it is to tell what it still has to tell."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)

    def dismiss(self) -> None:
        """End it; `reap` follows when it has ended."""
        self.line.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> None:
        """Collect it, which waits for its end."""
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


def rest(line: socket.socket) -> None:
    """In the watcher: until the launcher hangs up. Who waits for the plugin's end shares no processor with our own."""
    waiting = select.poll()
    waiting.register(line, 0)  # that it says no more, it has said
    waiting.poll()
