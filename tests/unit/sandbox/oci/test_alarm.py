"""A container's alarm, rung by a program that loads the filter and hands its listener over as a runtime does."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sekisho.launcher.alarm import ANSWERS_PER_PERIOD
from sekisho.sandbox.calls.seccomp import MACHINES, refusals
from sekisho.sandbox.oci.alarm import ContainerAlarm
from sekisho.sandbox.oci.words import LISTENER_FILE

MACHINE = platform.machine()
UNSHARE = MACHINES[MACHINE].numbers["unshare"]
WAIT_S = 20
RUNTIME = """
import ctypes, errno, os, socket, sys, time
from sekisho.launcher.alarm import load
from sekisho.launcher.calls import no_new_privileges
from sekisho.sandbox.calls.seccomp import assemble
path, machine, tries = sys.argv[1], sys.argv[2], int(sys.argv[3])
guest = socket.socket(socket.AF_UNIX)
guest.connect(path)
no_new_privileges()
listener = load(assemble(machine, alarm=True), alarm=True)
socket.send_fds(guest, [b'{"fds": ["seccompFd"]}'], [listener])
os.close(listener)
libc = ctypes.CDLL(None, use_errno=True)
seen = set()
for _ in range(tries):
    assert libc.unshare(0x10000000) == -1
    seen.add(errno.errorcode[ctypes.get_errno()])
print(*sorted(seen))
"""


async def rung(folder: Path, tries: int) -> tuple[str, list[dict[str, Any]]]:
    """What the program saw, and what was told."""
    told: list[dict[str, Any]] = []
    alarm = ContainerAlarm(folder, refusals(MACHINE), lambda message, _fds: told.append(message))
    words = (sys.executable, "-c", RUNTIME, str(folder / LISTENER_FILE), MACHINE, str(tries))
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, env=environment)
    async with asyncio.timeout(WAIT_S):
        said, _ = await program.communicate()
    alarm.close()
    return said.decode().strip(), told


async def test_a_refused_call_is_told_at_once_and_counted_at_the_end(tmp_path: Path) -> None:
    said, told = await rung(tmp_path, 3)
    assert said == "EPERM"
    assert told == [{"event": "alarm", "call": UNSHARE, "times": times} for times in (1, 3)]


async def test_more_than_a_period_allows_waits_and_is_answered(tmp_path: Path) -> None:
    said, told = await rung(tmp_path, ANSWERS_PER_PERIOD * 2 + 1)
    assert said == "EPERM"
    assert told[-1]["times"] == ANSWERS_PER_PERIOD * 2 + 1


async def test_one_that_never_rings_tells_nothing(tmp_path: Path) -> None:
    assert await rung(tmp_path, 0) == ("", [])


@pytest.mark.parametrize("comes", [True, False])
async def test_a_runtime_that_brings_nothing_leaves_nothing(tmp_path: Path, comes: bool) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    alarm = ContainerAlarm(tmp_path, {}, lambda _message, _fds: pytest.fail("nobody rang"))
    if comes:
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(str(tmp_path / LISTENER_FILE))
            await asyncio.sleep(0)
            guest.sendall(b"{}")
        await asyncio.sleep(0)
    alarm.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
