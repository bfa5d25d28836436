"""Runs one program behind the walls of a driver, to its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from typing import Any, Final

from sekisho.policy import FileGrant, Grants, LimitGrant
from sekisho.sandbox import Driver, Exit, Sandbox, SandboxSpec

__all__ = ["END_S", "PYTHON", "finish", "python_spec", "read_all", "start"]

PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
END_S: Final = 30.0


def python_spec(program: str, *, isolation: str = "minimal", **more: Any) -> SandboxSpec:
    """A Python program as a plugin."""
    files = more.pop("files", FileGrant())
    limits = more.pop("limits", LimitGrant(max_memory_mb=256))
    argv = more.pop("argv", (PYTHON, "-I", "-c", program))
    grants = Grants(files=files, limits=limits)
    return SandboxSpec(name="probe", argv=argv, grants=grants, isolation=isolation, **more)


async def start(driver: Driver, spec: SandboxSpec) -> Sandbox:
    """Raise its walls and start it."""
    return await driver.launch(await driver.plan(spec))


async def finish(sandbox: Sandbox) -> tuple[Exit, str, str]:
    """Its end, and what it printed."""
    try:
        async with asyncio.timeout(END_S):
            out, err = await asyncio.gather(read_all(sandbox.stdout_fd), read_all(sandbox.stderr_fd))
            return await sandbox.wait(), out, err
    finally:
        sandbox.close_fds()


async def read_all(fd: int) -> str:
    """Until the other end closes."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(fd), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return (await reader.read()).decode()
    finally:
        transport.close()
