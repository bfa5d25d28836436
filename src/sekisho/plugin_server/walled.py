"""A plugin behind the wall: sandbox, pipes and session joined into one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sekisho.egress import send_gate
from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.pipes import MAX_QUEUED_BYTES, Pipes
from sekisho.plugin_server.session import PluginSession
from sekisho.protocol import JsonLimits
from sekisho.sandbox import GateSockets, Running

__all__ = ["connect_walled"]

GATE_LOOK_S = 0.5  # how soon a plugin has its network back after the egress process was started again


class Walled:
    """A running sandbox and its session."""

    def __init__(self, session: PluginSession, sandbox: Running, ended: asyncio.Future[SekishoError]) -> None:
        self.session = session
        self._sandbox = sandbox
        self._ended = ended

    async def ended(self) -> SekishoError:
        """Return when the plugin is gone, with the reason."""
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """End the whole process tree now."""
        await self._sandbox.kill_tree()


@asynccontextmanager
async def connect_walled(
    *,
    start: Callable[[], Awaitable[Running]],
    limits: JsonLimits,
    max_queued_bytes: int = MAX_QUEUED_BYTES,
    roots: Sequence[tuple[str, str]],
    may_ask: tuple[str, ...] = (),
    gate_path: Path | None,
    log: Callable[..., None],
    on_list_changed: Callable[[], None],
) -> AsyncIterator[Walled]:
    """Start the plugin in its sandbox and open its pipes; leaving the context kills the whole tree."""
    sandbox = await start()
    ended: asyncio.Future[SekishoError] = asyncio.get_running_loop().create_future()

    def end(error: SekishoError) -> None:
        if not ended.done():
            ended.set_result(error)

    session = PluginSession(limits=limits, roots=roots, may_ask=may_ask, on_list_changed=on_list_changed)
    pipes = Pipes(
        receive_all=session.receive_all,
        on_end=end,
        max_line_bytes=limits.max_bytes,
        max_queued_bytes=max_queued_bytes,
    )
    session.attach(pipes)
    try:
        await pipes.open(sandbox.stdin_fd, sandbox.stdout_fd, sandbox.stderr_fd)
        gate = sandbox.gate_sockets
        if gate is not None and gate_path is not None:
            send_gate(gate_path, gate.fds)
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(_report_exit(sandbox, end))]
            if gate is not None and gate_path is not None:
                helpers.append(group.create_task(_follow_gate(gate, gate_path)))
            try:
                yield Walled(session, sandbox, ended)
            finally:
                for helper in helpers:
                    helper.cancel()
    finally:
        if sandbox.gate_sockets is not None:
            sandbox.gate_sockets.close()
        pipes.close()
        await sandbox.kill_tree()
        if session.counters.garbage or pipes.stderr_tail:
            log("plugin_noise", garbage_lines=session.counters.garbage, stderr_bytes=len(pipes.stderr_tail))


async def _report_exit(sandbox: Running, end: Callable[[SekishoError], None]) -> None:
    status = await sandbox.wait()
    end(Unavailable("plugin_exited", f"the plugin ended ({status.reason})"))


async def _follow_gate(gate: GateSockets, path: Path) -> None:
    """Hand the sockets over again whenever another egress process takes the place of the one that had them."""
    known = _mark(path)
    while True:
        await asyncio.sleep(GATE_LOOK_S)
        mark = _mark(path)
        if mark is None or mark == known:
            continue
        with contextlib.suppress(SekishoError):  # it is not listening yet: the next look tries again
            send_gate(path, gate.fds)
            known = mark


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
