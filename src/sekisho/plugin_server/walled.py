"""A plugin behind the wall: sandbox, pipes and session joined into one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from sekisho.egress import EgressRefusal, GateLine, send_gate
from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.pipes import MAX_QUEUED_BYTES, Pipes
from sekisho.plugin_server.session import PluginSession
from sekisho.plugin_server.watching import Watch
from sekisho.policy import LimitGrant
from sekisho.protocol import JsonLimits
from sekisho.sandbox import GateSockets, Running
from sekisho.wire import DenialFrame, DenialKind

__all__ = ["connect_walled"]

_EGRESS_WALLS: Final[dict[str, DenialKind]] = {
    "dns": "dns",
    "host": "host",
    "secret": "secret",
    "rate": "transfer",
}
GATE_RETRY_S = 0.2  # between two tries to hand the sockets to an egress process that is being started again


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
    on_denial: Callable[[DenialFrame], None],
    grant: LimitGrant,
    sift: Callable[[bytes], bytes] = bytes,
) -> AsyncIterator[Walled]:
    """Start the plugin in its sandbox and open its pipes; leaving the context kills the whole tree.

    `on_denial` is told what any wall refused; `grant` is what its limits enforce.
    """
    sandbox = await start()
    watch = Watch(sandbox.violations, sandbox.take_denied, grant, on_denial)
    ended: asyncio.Future[SekishoError] = asyncio.get_running_loop().create_future()

    def end(error: SekishoError) -> None:
        if not ended.done():
            ended.set_result(error)

    session = PluginSession(limits=limits, roots=roots, may_ask=may_ask, on_list_changed=on_list_changed)
    pipes = Pipes(
        receive_all=session.receive_all,
        receive_large=session.receive_large,
        on_end=end,
        max_line_bytes=limits.max_bytes,
        max_queued_bytes=max_queued_bytes,
        sift=sift,
    )
    session.attach(pipes)
    line: GateLine | None = None
    try:
        await pipes.open(sandbox.stdin_fd, sandbox.stdout_fd, sandbox.stderr_fd)
        gate = sandbox.gate_sockets
        line = await send_gate(gate_path, gate.fds) if gate is not None and gate_path is not None else None
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(_report_exit(sandbox, end)), group.create_task(watch.run())]
            if gate is not None and gate_path is not None and line is not None:
                helpers.append(
                    group.create_task(_follow_gate(line, gate, gate_path, partial(_tell_refusal, on_denial)))
                )
            try:
                yield Walled(session, sandbox, ended)
            finally:
                for helper in helpers:
                    helper.cancel()
    finally:
        if line is not None:
            line.close()  # a task that is cancelled before its first step closes nothing
        if sandbox.gate_sockets is not None:
            sandbox.gate_sockets.close()
        pipes.close()
        watch.ended(await sandbox.kill_tree())  # here, because pipes may end before the process is reaped
        if session.counters.garbage or pipes.stderr_tail:
            log("plugin_noise", garbage_lines=session.counters.garbage, stderr_bytes=len(pipes.stderr_tail))


async def _report_exit(sandbox: Running, end: Callable[[SekishoError], None]) -> None:
    status = await sandbox.wait()
    end(Unavailable("plugin_exited", f"the plugin ended ({status.reason})"))


def _tell_refusal(on_denial: Callable[[DenialFrame], None], refusal: EgressRefusal) -> None:
    """What the egress process refused, in the words of all walls."""
    on_denial(
        DenialFrame(
            "learned" if refusal.is_observation else _EGRESS_WALLS.get(refusal.kind, "connect"),
            "secrets" if refusal.kind == "secret" else "network_policy",
            refusal.reason,
            f"{refusal.host}:{refusal.port}" if refusal.host else "",
            refusal.left_out,
        )
    )


async def _follow_gate(
    line: GateLine | None, gate: GateSockets, path: Path, on_refusal: Callable[[EgressRefusal], None]
) -> None:
    """Hear refusals; when the egress process ends, hand the sockets over to the one that takes its place."""
    while True:
        if line is not None:
            with line:
                if await line.follow(on_refusal):
                    return  # another sandbox stands where this one stood
        await asyncio.sleep(GATE_RETRY_S)
        line = None
        with contextlib.suppress(SekishoError):  # it is not listening yet: the next try comes
            line = await send_gate(path, gate.fds)
