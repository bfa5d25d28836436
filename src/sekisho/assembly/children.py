"""Processes of ours: how `up` starts them, restarts them, and leaves none behind."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["Child", "die_with_parent", "main"]

PR_SET_PDEATHSIG: Final = 1  # prctl(2)
STOP_S: Final = 3.0  # between SIGTERM and SIGKILL; `up` has five seconds altogether
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 5.0
SETTLED_S: Final = 30.0


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, however that happens."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise Misconfigured("internal", f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run one child: `<parent pid> core|plugin|egress <config> <home> [plugin name | --trust-on-first-use]`."""
    parent, role, config, home, *rest = arguments
    die_with_parent(int(parent))
    config_path, home_path = Path(config), Path(home)
    match role:
        case "core":
            from sekisho.assembly.core import run_core  # noqa: PLC0415  # each child imports only its own half

            return run_core(config_path, home_path, trust_on_first_use="--trust-on-first-use" in rest)
        case "plugin":
            from sekisho.assembly.plugin import run_plugin  # noqa: PLC0415

            return run_plugin(config_path, home_path, name=rest[0], environment=environment)
        case "egress":
            from sekisho.assembly.egress import run_egress  # noqa: PLC0415

            return run_egress(config_path, home_path)
    raise Misconfigured("internal", f"there is no role {role!r}")


class Child:
    """One process that is started again when it ends."""

    def __init__(self, role: str, arguments: list[str], *, log: Callable[..., None]) -> None:
        self.role = role
        self._arguments = arguments
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.on_line: Callable[[bytes], None] = lambda line: None

    async def run(self) -> None:
        """Keep the process running until cancelled; then stop it."""
        loop = asyncio.get_running_loop()
        backoff_s = BACKOFF_FIRST_S
        while True:
            started = loop.time()
            try:
                status = await self._one_life()
            finally:
                await self._stop()
            if loop.time() - started > SETTLED_S:
                backoff_s = BACKOFF_FIRST_S
            self._log("process_ended", role=self.role, status=status)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MOST_S)

    def send_signal(self, number: signal.Signals) -> None:
        """Pass a signal on, if the process runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _one_life(self) -> int:
        command = [sys.executable, "-I", "-m", "sekisho.assembly", str(os.getpid()), *self._arguments]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        output = self._process.stdout
        while output is not None and (line := await output.readline()):
            self.on_line(line)
        return await self._process.wait()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
