"""An egress process that is stopped (a debugger, SIGSTOP, a frozen group) holds up no plugin server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from sekisho.egress import send_gate
from sekisho.errors import Unavailable

pytestmark = pytest.mark.real

END_S = 60.0
SERVE = """
import asyncio, sys
from pathlib import Path
from sekisho.egress import EgressSettings, serve
from sekisho.policy import NetworkGrant
folder = Path(sys.argv[1])
settings = EgressSettings(sockets={"a": (folder / "a.sock", NetworkGrant())}, log_folder=folder)
asyncio.run(serve(settings, ready=lambda: print("ready", flush=True)))
"""


def _doors(stack: ExitStack) -> list[int]:
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    doors = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for kind in kinds]
    for door in doors:
        door.bind(("127.0.0.1", 0))
        if door.type == socket.SOCK_STREAM:
            door.listen()
    return [door.fileno() for door in doors]


async def _fill(stack: ExitStack, path: Path, doors: list[int], turns: list[int]) -> None:
    """Hand over until its queue is full."""
    while True:
        turns[0] = 0
        stack.enter_context(await send_gate(path, doors, patience_s=0.5))


@pytest.mark.threat("T-FLOOD")
async def test_a_stopped_process_is_told_of_in_time_and_takes_up_its_work_when_it_goes_on(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    path = tmp_path / "a.sock"
    turns = [0]

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0.001)

    try:
        async with asyncio.timeout(END_S):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            with ExitStack() as stack:
                doors = _doors(stack)
                stack.enter_context(await send_gate(path, doors))
                os.kill(process.pid, signal.SIGSTOP)
                async with asyncio.TaskGroup() as group:
                    other = group.create_task(others())
                    with pytest.raises(Unavailable, match="does not answer"):
                        await _fill(stack, path, doors, turns)
                    assert turns[0] > 10, "the loop went on while one hand-off waited"
                    waiting = group.create_task(send_gate(path, doors))
                    os.kill(process.pid, signal.SIGCONT)
                    stack.enter_context(await waiting)
                    other.cancel()
    finally:
        process.kill()
        await process.wait()
