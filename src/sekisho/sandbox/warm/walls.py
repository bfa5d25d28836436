"""One set of walls with a fork server in it, and the one plugin that it has forked at a time.

What the fork server says is believed as little as the plugin: it lives behind the same walls. It is never asked for
anything but starts and ends, and whatever it says wrongly makes these walls unfit. Guarantees that a plugin's end is told
once, by the fork server or by the end of the walls; and that walls in which a plugin died of a signal fork no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from dataclasses import replace
from typing import Any, Final

from sekisho.errors import Unavailable
from sekisho.sandbox.running.sandbox import Exit, GateSockets, Pipes, Sandbox, close_fds
from sekisho.sandbox.running.violations import Denied, Violation

__all__ = ["Life", "Unfit", "Walls"]

READY_S: Final = 20.0  # an SDK is imported in half a second; on a busy machine it takes a few
FORK_S: Final = 5.0
END_S: Final = 1.0  # a fork server that has not ended its plugin by then never will
MAX_MESSAGE_BYTES: Final = 64 << 10
MAX_TAIL_BYTES: Final = 2000


class Unfit(Exception):
    """Why this plugin is not started warm."""


class Walls:
    """One set of walls with its fork server, and at most one plugin."""

    def __init__(self, sandbox: Sandbox, channel: socket.socket) -> None:
        self.sandbox = sandbox
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[list[str]] = self._loop.create_future()
        self._forked: asyncio.Future[None] | None = None
        self._life: Life | None = None
        self._is_open = True
        self._is_heard = True
        self.is_spoiled = False
        self._tail = bytearray()
        self._loop.add_reader(channel, self._hear)
        for fd in (sandbox.stdout_fd, sandbox.stderr_fd):
            self._loop.add_reader(fd, self._drain, fd)
        sandbox.when_ended(self._over)

    async def wait_ready(self, message: bytes) -> list[str]:
        """Until the fork server has imported what it should; returns the modules."""
        try:
            self._channel.send(message)
            async with asyncio.timeout(READY_S):
                return await self._ready
        except (OSError, TimeoutError) as error:
            raise Unfit(f"its fork server does not start: {_why(error)}") from error

    async def fork(self) -> Life:
        """One plugin."""
        if self._life is not None:
            await self._life.kill_tree()
        if self.is_spoiled or not (self._is_open and self._is_heard):
            raise Unfit("its walls are gone")
        pipes = Pipes()
        life = Life(self, pipes, self.sandbox.oom_kills())
        forked = self._forked = self._loop.create_future()
        try:
            socket.send_fds(self._channel, [b"start"], list(pipes.theirs))
            self._life = life
            async with asyncio.timeout(FORK_S):
                await forked
        except (OSError, TimeoutError, Unfit) as error:
            life.close_fds()
            raise Unfit(f"its fork server does not answer: {_why(error)}") from error
        except BaseException:
            life.close_fds()
            raise
        finally:
            pipes.close_theirs()
        return life

    async def end(self, life: Life) -> None:
        """End the plugin and all it started: the fork server does, or the kernel does with the whole walls."""
        with contextlib.suppress(OSError, TimeoutError):
            if self._is_heard:
                self._channel.send(b"end")
                async with asyncio.timeout(END_S):
                    await life.wait()
                    return
        # Where they have ended already, whoever was to be told of it may not have had its turn yet.
        self._over(await self.sandbox.kill_tree())

    async def close(self) -> None:
        """Tear down."""
        try:
            await self.sandbox.kill_tree()
        finally:
            self._over(Exit(code=None, signal=None, reason="killed"))
            self.sandbox.close_fds()

    def _hear(self) -> None:
        """A message of the fork server; descriptors that come with one are dropped by the kernel."""
        try:
            data = self._channel.recv(MAX_MESSAGE_BYTES)
            message: dict[str, Any] = json.loads(data) if data else {}
            self._heard(message)
        except BlockingIOError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            message = {}
        if not message:
            self._is_heard = False
            self._loop.remove_reader(self._channel)
            self._fail("it speaks no more")

    def _heard(self, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "ready" if not self._ready.done():
                self._ready.set_result([str(name) for name in message["loaded"]])
            case "unfit" if not self._ready.done():
                self._ready.set_exception(Unfit(str(message["reason"])[:MAX_TAIL_BYTES]))
            case "started" if self._forked is not None and not self._forked.done():
                self._forked.set_result(None)
            case "exit" if self._life is not None:
                life, self._life = self._life, None
                life.end(int(message["status"]), self.sandbox.oom_kills())

    def _drain(self, fd: int) -> None:
        """What the fork server prints; the last words are kept for the log."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, 1 << 16)
            self._tail += data
            del self._tail[:-MAX_TAIL_BYTES]
            if not data:
                self._loop.remove_reader(fd)

    def _fail(self, reason: str) -> None:
        last = bytes(self._tail).decode("utf-8", "replace").strip()
        error = Unfit(f"{reason}: {last}" if last else reason)
        for waiting in (self._ready, self._forked):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # somebody else may have stopped waiting

    def _over(self, how: Exit) -> None:
        """The walls are down."""
        if not self._is_open:
            return
        self._is_open = False
        for fd in (self._channel.fileno(), self.sandbox.stdout_fd, self.sandbox.stderr_fd):
            self._loop.remove_reader(fd)
        self._channel.close()
        self._fail("its walls ended")
        life, self._life = self._life, None
        if life is not None:
            life.finish(how)


class Life:
    """One plugin that was forked (`Running`)."""

    def __init__(self, walls: Walls, pipes: Pipes, oom_kills: int) -> None:
        self.stdin_fd, self.stdout_fd, self.stderr_fd = pipes.ours
        doors = walls.sandbox.gate_sockets
        # Copies, because the walls need theirs for the next plugin.
        self.gate_sockets = None if doors is None else GateSockets(*(os.dup(fd) for fd in doors.fds))
        self._walls = walls
        self._oom_kills = oom_kills
        self._is_killed = False
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def violations(self) -> tuple[Violation, ...]:
        """What its walls refused since they stand, its lives before this one included."""
        return self._walls.sandbox.violations()

    def take_denied(self) -> tuple[Denied, ...]:
        """Attempts on paths that its walls refused, since they were asked for last."""
        return self._walls.sandbox.take_denied()

    async def wait(self) -> Exit:
        """Until nothing of it is left."""
        return await asyncio.shield(self._ended)

    async def kill_tree(self) -> Exit:
        """End it now.

        Raises:
            Unavailable: the kernel did not report the end in time.
        """
        if not self._ended.done():
            self._is_killed = True
            await self._walls.end(self)
        if not self._ended.done():
            raise Unavailable("plugin_unavailable", "a process of the plugin did not end in time")
        return self._ended.result()

    def close_fds(self) -> None:
        """Close the pipes and the gate sockets, for a caller that has not taken them elsewhere."""
        close_fds(self.stdin_fd, self.stdout_fd, self.stderr_fd)
        if self.gate_sockets is not None:
            self.gate_sockets.close()

    def end(self, status: int, oom_kills: int) -> None:
        """The fork server says how it ended."""
        by_signal = -status if status < 0 else None
        how = Exit(
            code=None if status < 0 else status,
            signal=by_signal,
            reason="exited" if by_signal is None else "signalled",
        )
        if oom_kills > self._oom_kills:
            how = replace(how, reason="oom")
        if by_signal is not None and not self._is_killed:
            self._walls.is_spoiled = True
        self.finish(how)

    def finish(self, how: Exit) -> None:
        """It has ended."""
        if self._is_killed and how.reason != "oom":
            how = replace(how, reason="killed")
        if not self._ended.done():
            self._ended.set_result(how)


def _why(error: Exception) -> str:
    return "too slow" if isinstance(error, TimeoutError) else str(error)
