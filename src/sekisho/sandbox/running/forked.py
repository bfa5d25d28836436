"""A launcher that was forked off instead of started: the same face as a process of asyncio, no more.

Guarantees that its end is collected once, and that no signal reaches another process that got its number.
Knows neither what the launcher does nor when to fork: `launcher.fork_off` says who may.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

from sekisho.launcher.serving import fork_off

__all__ = ["ForkedLauncher", "readable"]


class ForkedLauncher:
    """A child of this process, and our end of its control socket until somebody takes it."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)
        self._control: socket.socket | None = control

    @classmethod
    def start(cls) -> ForkedLauncher:
        """Fork it off. For a process with one thread, before it reads a key or opens a file."""
        return cls(*fork_off())

    def take_control(self) -> socket.socket:
        """The control socket; it has one owner, who closes it."""
        control, self._control = self._control, None
        assert control is not None  # noqa: S101  # taken once, by the driver
        return control

    def kill(self) -> None:
        """SIGKILL."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def dismiss(self) -> None:
        """End it now; what it started dies with it."""
        if self._control is not None:
            self._control.close()
        self.kill()
        self._collect()

    async def wait(self) -> int:
        """Until it has ended."""
        if self.returncode is None:
            await readable(self._pidfd)
        return self._collect()

    def _collect(self) -> int:
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            os.close(self._pidfd)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


async def readable(fd: int) -> None:
    """Until a descriptor has something to say: one of a process, that it has ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
