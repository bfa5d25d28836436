"""Our short programs beside a container: who removes it when we are gone, who watches it, who leads its network out.

Guarantees that each inherits one descriptor at most and nothing of our environment but what an engine needs, and that
whoever has to be ready is ready before its container starts. What they do is in `launcher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from sekisho.launcher import entering, keeping, minding
from sekisho.launcher.kernel import receive
from sekisho.sandbox.oci.engine import NOTHING, Engine
from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.plans.spec import unavailable

__all__ = ["keep", "lead_out", "mind", "was_exceeded"]

HELPER_S: Final = 5.0

Process = asyncio.subprocess.Process


async def keep(engine: Engine, container: str) -> tuple[Process, int]:
    """Who removes a container once the descriptor that is returned is closed, however that comes about."""
    reading, lifeline = os.pipe()
    try:
        words = (str(reading), *engine.command("rm", "--force", container))
        return await _start(keeping.__file__, *words, env=engine.environment, passed=reading), lifeline
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(reading)


async def mind(pid: int, limits: Limits, plugin: str) -> Process | None:
    """Who watches what no control group counts; it watches already.

    Raises:
        Misconfigured: it does not.
    """
    if limits.memory_by == "cgroup":
        return None
    words = (str(pid), str(limits.memory_bytes), str(limits.cpu_percent))
    minder = await _start(minding.__file__, *words, stdout=subprocess.PIPE)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HELPER_S):
            if await _said(minder, 1) == minding.READY:
                return minder
    with contextlib.suppress(ProcessLookupError):
        minder.kill()
    await minder.wait()
    raise unavailable(f"the limits of plugin {plugin!r} cannot be watched")


async def was_exceeded(minder: Process | None) -> bool:
    """Whether it ended what it watched for its memory; asked after that has ended."""
    if minder is None:
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HELPER_S):
            return await _said(minder, -1) == minding.EXCEEDED
    return False


async def lead_out(pid: int, plugin: str) -> list[int]:
    """The gate's sockets, opened in the network of a process.

    Raises:
        Misconfigured: they cannot be.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            words = (str(pid), str(theirs.fileno()))
            entered = await _start(entering.__file__, *words, stderr=subprocess.PIPE, passed=theirs.fileno())
        async with asyncio.timeout(HELPER_S):
            _, complaint = await entered.communicate()
        if entered.returncode != 0:
            said = complaint.decode(errors="replace").strip()
            raise unavailable(f"the network of plugin {plugin!r} cannot be led to the gate: {said}")
        return receive(ours)[1]


async def _start(
    file: str,
    *words: str,
    env: Mapping[str, str] = NOTHING,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    passed: int = -1,
) -> Process:
    """A short program of ours beside a container, which inherits one descriptor at most."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", file, *words,
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        env=dict(env),  # uvloop takes no other mapping
        pass_fds=(passed,) if passed >= 0 else (),
    )  # fmt: skip


async def _said(helper: Process, most: int) -> bytes:
    """What it says, to its end or at most so much."""
    assert helper.stdout is not None  # noqa: S101  # started so
    return await helper.stdout.read(most)
