"""Our short programs beside a container, with small programs in its place."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.sandbox.running.test_limits import LIMITS

from sekisho.errors import Misconfigured
from sekisho.sandbox.oci.beside import keep, lead_out, mind, was_exceeded
from sekisho.sandbox.oci.engine import Engine

WAIT_S = 20
WATCHED = replace(LIMITS, memory_by="guard", cpu_by="guard", memory_bytes=64 << 20, cpu_percent=10_000)
GROW = "held = [bytearray(b'x') * (1 << 20) for _ in range(200)]\ninput()"


async def started(program: str) -> asyncio.subprocess.Process:
    words = (sys.executable, "-ISc", program)
    return await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE)


async def test_a_container_is_removed_when_its_lifeline_ends(tmp_path: Path) -> None:
    tool = tmp_path / "docker"
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\n')
    tool.chmod(0o755)
    engine = Engine(name="docker", program=str(tool), environment={"PATH": "/usr/bin:/bin"})
    keeper, lifeline = await keep(engine, "one")
    os.close(lifeline)
    async with asyncio.timeout(WAIT_S):
        assert await keeper.wait() == 0
    assert (tmp_path / "said").read_text() == "rm --force one\n"


async def test_what_a_control_group_counts_is_not_watched_as_well() -> None:
    assert await mind(os.getpid(), LIMITS, "notes") is None
    assert not await was_exceeded(None)


async def test_who_grows_too_large_is_ended_and_that_is_told() -> None:
    growing = await started(GROW)
    minder = await mind(growing.pid, WATCHED, "notes")
    async with asyncio.timeout(WAIT_S):
        await growing.wait()
    assert await was_exceeded(minder)
    assert minder is not None
    await minder.wait()


async def test_who_stays_small_is_left_alone() -> None:
    resting = await started("input()")
    minder = await mind(resting.pid, WATCHED, "notes")
    async with asyncio.timeout(WAIT_S):
        await resting.communicate(b"\n")
    assert not await was_exceeded(minder)
    assert minder is not None
    await minder.wait()


async def test_without_a_watcher_nothing_starts() -> None:
    gone = await started("pass")
    await gone.communicate()
    with pytest.raises(Misconfigured, match="the limits of plugin 'notes' cannot be watched"):
        await mind(gone.pid, WATCHED, "notes")


async def test_the_network_of_the_host_is_led_nowhere() -> None:
    with pytest.raises(Misconfigured, match=r"cannot be led to the gate: .* is the host's own"):
        await lead_out(os.getpid(), "notes")
