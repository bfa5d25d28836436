"""One plugin that runs behind its walls: its pipes, its gate sockets, its end.

Guarantees that `wait` tells a kill for memory from any other, that `wait` and `kill_tree` return only when no
process of the plugin is left, and that an end is recorded once. Knows neither launcher nor bwrap: it hears
reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sekisho.errors import Unavailable
from sekisho.sandbox.drafts.claim import give_back
from sekisho.sandbox.running.limits import Group, Usage
from sekisho.sandbox.running.scratch import remove_scratch
from sekisho.sandbox.running.violations import (
    Denied,
    DeniedPaths,
    Violation,
    crowded,
    of_calls,
    of_exit,
    of_group,
)

__all__ = ["DOORS", "Exit", "GateSockets", "Pipes", "Sandbox", "close_fds"]

DOORS: Final = 4
END_S: Final = 5.0  # the kernel kills a process namespace within milliseconds
SIGNAL_CODE: Final = 128  # a shell's way to tell a signal as an exit code, and bwrap's
MAX_SIGNAL: Final = 64

Reason = Literal["exited", "signalled", "oom", "killed", "not_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a plugin ended: `code` or `signal`, and why as far as we know."""

    code: int | None
    signal: int | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class GateSockets:
    """Four listening sockets inside the sandbox's network, as descriptors in the order of the hand-off."""

    tcp_proxy: int
    tcp_443: int
    tcp_80: int
    udp_53: int

    @property
    def fds(self) -> tuple[int, int, int, int]:
        """In order: proxy, 443, 80, names."""
        return (self.tcp_proxy, self.tcp_443, self.tcp_80, self.udp_53)

    def close(self) -> None:
        """Close our copies, after the egress process has its own."""
        close_fds(*self.fds)


class Sandbox:
    """One running plugin behind its walls; the caller owns, and closes, its three pipes and gate sockets."""

    def __init__(
        self,
        *,
        number: int,
        ask_to_kill: Callable[[int], None],
        pipes: Pipes,
        group: Group | None,
        scratch: Path | None = None,
        keeps_scratch: int | None = None,
        held: tuple[int, ...] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self.stdin_fd, self.stdout_fd, self.stderr_fd = pipes.ours
        self.pid = 0
        self.inner_pid = 0
        self.gate_sockets: GateSockets | None = None
        self.number = number
        self._ask_to_kill = ask_to_kill
        self._group = group
        self.scratch = scratch
        self._keeps_scratch = keeps_scratch
        self._is_full = False
        self._refused: dict[int, int] = {}
        self._denied = DeniedPaths()
        self._last: tuple[Violation, ...] = ()
        self._counted: dict[str, Violation] = {}  # by kind
        self._held = held
        self._on_violation: list[Callable[[Violation], None]] = []
        self._started: asyncio.Future[str | None] = loop.create_future()
        self._ended: asyncio.Future[Exit] = loop.create_future()
        self._is_killed = False
        self._is_forgotten = False

    async def wait(self) -> Exit:
        """Until the plugin and everything it started have ended."""
        return await asyncio.shield(self._ended)

    def when_ended(self, callback: Callable[[Exit], None]) -> None:
        """Call back once it has ended."""
        self._ended.add_done_callback(lambda ended: callback(ended.result()))

    def count_by(self, group: Group | None) -> None:
        """From now on this group counts what it uses: one that an engine made."""
        self._group = group

    def keep_counts(self) -> bool:
        """Remember what was counted until now, because whoever made the group is about to remove it; False when the
        group is gone already, or there is none.
        """
        self._count()
        return self._group is not None and self._group.usage().memory_bytes is not None

    def oom_kills(self) -> int:
        """How many of its processes the kernel killed for their memory."""
        return sum(one.times for one in self._count() if one.kind == "oom")

    def violations(self) -> tuple[Violation, ...]:
        """What its walls refused until now."""
        return (*of_calls(self._refused), *(self._last or self._count()))

    def take_denied(self) -> tuple[Denied, ...]:
        """Attempts on paths that its walls refused, since they were asked for last."""
        return self._denied.take()

    def when_refused(self, callback: Callable[[Violation], None]) -> None:
        """Call back as soon as its system call filter refuses something it has not refused before."""
        self._on_violation.append(callback)

    async def kill_tree(self) -> Exit:
        """Kill every process of the plugin; returns when none is left.

        Raises:
            Unavailable: the kernel did not report their end in time.
        """
        if not self._ended.done():
            self._is_killed = True
            self._ask_to_kill(self.number)
        try:
            async with asyncio.timeout(END_S):
                return await self.wait()
        except TimeoutError:
            if self._group is not None:
                self._group.kill()
            raise Unavailable("plugin_unavailable", f"process {self.pid} did not end in time") from None

    def stats(self) -> Usage:
        """What the plugin uses now, as far as the kernel counts it."""
        if self._group is None:
            return Usage(memory_bytes=None, pids=None, cpu_s=None)
        return self._group.usage()

    def close_fds(self) -> None:
        """Close the three pipes and the gate sockets, for a caller that has not taken them elsewhere."""
        close_fds(self.stdin_fd, self.stdout_fd, self.stderr_fd)
        if self.gate_sockets is not None:
            self.gate_sockets.close()

    async def wait_started(self) -> str | None:
        """None when every wall stands, else the complaint."""
        return await asyncio.shield(self._started)

    def hear(self, message: dict[str, Any], fds: list[int]) -> None:
        """One report of the launcher about this sandbox."""
        match message["event"]:
            case "sockets" if len(fds) == DOORS:
                self.gate_sockets = GateSockets(*fds)
            case "sockets":
                close_fds(*fds)
            case "started":
                self.pid, self.inner_pid = message["pid"], message["inner"]
                self._resolve(self._started, None)
            case "alarm":
                self._refused[message["call"]] = message["times"]
                for callback in self._on_violation if message["times"] == 1 else ():
                    callback(of_calls({message["call"]: 1})[0])
            case "path":
                self._denied.hear(message)
            case "crowded":
                before = self._counted.get("pids")
                self._counted["pids"] = crowded(before.times if before is not None else 0)
            case "failed":
                self._resolve(self._started, message["message"])
                self.end(Exit(code=None, signal=None, reason="not_run"))
            case "exit":
                self._is_full = message.get("full", False)
                counted = self._count()
                self.end(self._judge_exit(message, counted), counted)

    def end(self, how: Exit, counted: tuple[Violation, ...] | None = None) -> None:
        """Record the end, once, and free what the kernel held for it; `counted` is what its group said after it."""
        self._resolve(self._started, "the launcher is gone")
        counted = self._count() if counted is None else counted
        self._last = (*of_exit(how.signal, is_full=self._is_full), *counted)
        self._give_back(is_over=True)
        if not self._ended.done():
            self._ended.set_result(how)
        self.forget()

    def orphaned(self) -> None:
        """The launcher is gone: the kernel kills what it started, and we make sure of it."""
        if self._group is not None:
            self._group.kill()
        self._give_back(is_over=False)
        self.end(Exit(code=None, signal=signal.SIGKILL, reason="killed"))

    def _give_back(self, *, is_over: bool) -> None:
        held, self._held = self._held, ()
        give_back(held, is_over=is_over)

    def forget(self) -> bool:
        """Remove what the kernel still keeps for it; False when that has to be tried again."""
        if self._is_forgotten:
            return True
        is_cleared = self.scratch is None or remove_scratch(self.scratch)
        if self._keeps_scratch is not None:
            keeps, self._keeps_scratch = self._keeps_scratch, None
            os.close(keeps)
        self._is_forgotten = (self._group is None or self._group.remove()) and is_cleared
        return self._is_forgotten

    def _count(self) -> tuple[Violation, ...]:
        """What the group counted. Counts never fall, so what was read once stays, also when the group is gone."""
        self._counted.update((one.kind, one) for one in of_group(self._group))
        return tuple(self._counted[kind] for kind in sorted(self._counted))

    def _judge_exit(self, message: dict[str, Any], counted: tuple[Violation, ...]) -> Exit:
        code = message["code"]
        # bwrap tells a signal as 128 + number, and dies by one itself when the whole world was killed.
        number = -code if code < 0 else code - SIGNAL_CODE
        by_signal = number if code < 0 or 0 < number <= MAX_SIGNAL else None
        reason: Reason = "exited" if by_signal is None else "signalled"
        if message["exceeded"] or any(one.kind == "oom" and one.times for one in counted):
            reason = "oom"
        elif self._is_killed:
            reason = "killed"
        elif by_signal is None and not message["ran"]:
            reason = "not_run"
        return Exit(code=code if by_signal is None else None, signal=by_signal, reason=reason)

    @staticmethod
    def _resolve(future: asyncio.Future[str | None], value: str | None) -> None:
        if not future.done():
            future.set_result(value)


class Pipes:
    """Three pipes: our ends do not block, their ends go to the plugin, whose user `owner` is if it has its own."""

    def __init__(self, owner: int | None = None) -> None:
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        self.theirs = (stdin[0], stdout[1], stderr[1])
        self.ours = (stdin[1], stdout[0], stderr[0])
        for fd in self.theirs if owner is not None else ():
            os.fchown(fd, owner or 0, -1)  # who opens /dev/stdout asks for the right to
        for fd in self.ours:
            os.set_blocking(fd, False)

    def close_theirs(self) -> None:
        """After the fork the plugin has its own copies; ours would keep the pipes from ever ending."""
        theirs, self.theirs = self.theirs, (-1, -1, -1)
        close_fds(*(fd for fd in theirs if fd >= 0))


def close_fds(*fds: int) -> None:
    """Close these; one that is closed already is no loss."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
