"""The door at which a container's start program hands its filter's listener out and waits for the word.

Guarantees
- whoever comes first is let in and nobody after; it must be the very file that we laid, and bring a listener;
- the word is given only when somebody listens, so that no refused call and no attempt on a file goes untold;
- a plugin that was not executed is told with what was refused; a watcher that goes before its plugin ends the plugin;
- the last that the watcher has to tell is told before the end of its plugin.

Stands between `start_program` inside and `launcher.watching` beside the container. Knows no engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sekisho.launcher import watching
from sekisho.launcher.alarm import send_listener
from sekisho.launcher.kernel import memory_file, receive
from sekisho.sandbox.calls.watched import places_of
from sekisho.sandbox.oci.words import DOOR_FILE, GATE_FOLDER, START_FILE
from sekisho.sandbox.plans.plan import Plan
from sekisho.sandbox.plans.spec import unavailable
from sekisho.sandbox.running.forked import readable
from sekisho.sandbox.running.sandbox import close_fds

__all__ = ["ContainerGate", "watch_request"]

LAST_S: Final = 1.0  # its plugin is dead by then, and it has only words to say
READY_S: Final = 10.0  # as long as the launcher's watchers have
WORD_BYTES: Final = 1 << 16
REFUSAL_BYTES: Final = 4

Tell = Callable[[dict[str, Any], list[int]], None]


class ContainerGate:
    """One container's: `prepare`, `arrive`, `open`, and `close` after its end."""

    def __init__(self, folder: Path, plan: Plan, tell: Tell, *, has_image: bool) -> None:
        self._plan, self._tell = plan, tell
        self._request = json.dumps(watch_request(plan, has_image=has_image)).encode()
        self._loop = asyncio.get_running_loop()
        self._start = (folder / GATE_FOLDER / START_FILE).stat()
        self._guest: socket.socket | None = None
        self._line: socket.socket | None = None
        self._inward: socket.socket | None = None
        self._watcher: asyncio.subprocess.Process | None = None
        self._over = asyncio.Event()
        self.on_lost: Callable[[], None] = lambda: None
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.setblocking(False)
        path = folder / GATE_FOLDER / DOOR_FILE
        self._door.bind(str(path))
        path.chmod(0o666)  # the container's user is none of ours
        self._door.listen(1)

    async def prepare(self) -> None:
        """Start the watcher, which is ready by the time the listener comes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._inward, inner = socket.socketpair()
        self._line = ours
        ours.setblocking(False)
        request = memory_file(self._request)
        try:
            with theirs, inner:
                self._watcher = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", "-S", watching.__file__, str(theirs.fileno()), str(os.getpid()),
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL, env={}, pass_fds=(theirs.fileno(),),
                )  # fmt: skip
                socket.send_fds(ours, [b"w"], [request, inner.fileno()])
        finally:
            os.close(request)

    async def arrive(self) -> int:
        """The container's first process, whose filter stands and is listened to.

        Raises:
            Misconfigured: somebody else came, the filter could not be loaded, or nobody could listen.
        """
        guest, _ = await self._loop.sock_accept(self._door)
        self._door.close()
        self._guest = guest
        guest.setblocking(False)
        pid = self._known(guest)
        await readable(guest.fileno())
        word, fds = receive(guest)
        try:
            if len(word) == REFUSAL_BYTES:
                raise self._refused(word)
            await self._install(word, fds)
        finally:
            close_fds(*fds)
        return pid

    async def open(self) -> None:
        """Give the word; returns when the plugin's own program runs.

        Raises:
            Misconfigured: it could not be executed.
        """
        guest = self._guest
        if guest is None:
            return
        with contextlib.suppress(ConnectionError):
            guest.send(b"x")
            await readable(guest.fileno())
            word = guest.recv(REFUSAL_BYTES)
            if word:
                raise self._refused(word)

    async def close(self) -> None:
        """Hear the last, and let nobody in any more."""
        for end in (self._door, self._guest, self._inward):
            if end is not None:
                end.close()
        self._guest = None
        watcher, self._watcher = self._watcher, None
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)
            if watcher is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_S):
                        await self._over.wait()
            self._hang_up()
        if watcher is not None:
            with contextlib.suppress(ProcessLookupError):
                watcher.kill()
            await watcher.wait()

    def _known(self, guest: socket.socket) -> int:
        """The process that came: the very program that we laid."""
        raw = guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", raw)[0]
        with contextlib.suppress(OSError):
            found = os.stat(f"/proc/{pid}/exe")  # noqa: PTH116  # no path of a file
            if (found.st_dev, found.st_ino) == (self._start.st_dev, self._start.st_ino):
                return pid
        raise unavailable(
            f"the first program of plugin {self._plan.name!r} is not the one that loads its filter"
        )

    async def _install(self, word: bytes, fds: list[int]) -> None:
        """Hand the listener on, and wait until it is served."""
        line, inward = self._line, self._inward
        assert line is not None and inward is not None  # noqa: S101, PT018  # prepared before
        has_listener = word == b"l" and len(fds) == 1
        said = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            send_listener(inward, os.dup(fds[0]) if has_listener else None)
            async with asyncio.timeout(READY_S):
                await readable(line.fileno())
                said = line.recv(16)
        if said == b"listens":
            self._loop.add_reader(line, self._hear)
        elif said == b"silent" and word == b"n":
            self._over.set()
        else:
            raise unavailable(f"nobody listens to the filter of plugin {self._plan.name!r}")

    def _hear(self) -> None:
        """What the watcher tells now."""
        line = self._line
        while line is not None and not self._over.is_set():
            try:
                data = line.recv(WORD_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            message = json.loads(data) if data else {"event": "lost"}
            if message["event"] in ("over", "lost"):
                self._loop.remove_reader(line)
                self._over.set()
                if message["event"] == "lost":  # whatever rings now fails
                    self.on_lost()
            else:
                self._tell(message, [])

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._loop.remove_reader(line)
            line.close()

    def _refused(self, word: bytes) -> Exception:
        number = -struct.unpack("<i", word)[0] if len(word) == REFUSAL_BYTES else 0
        return unavailable(
            f"plugin {self._plan.name!r} could not be started: {self._plan.command[0]}: {os.strerror(number)}"
        )


def watch_request(plan: Plan, *, has_image: bool) -> dict[str, Any]:
    """What a watcher is told of one plan; all that lies in an image may be read."""
    places = [(path, "image" if has_image and path == "/" else kind) for path, kind in places_of(plan.mounts)]
    return {
        "kind": plan.driver,
        "refusals": {str(call): error for call, error in plan.refusals.items()},
        "watched": {number: (one.paths, one.flags, one.mode) for number, one in plan.watched.items()},
        "places": places,
    }
