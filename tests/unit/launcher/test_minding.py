"""A tree that nobody counts is watched, its first process included, and ended when it wants too much."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from typing import Any

from sekisho.launcher import minding
from sekisho.launcher.throttle import cpu_s

WAIT_S = 20
TRIES = 4
GIB = 1 << 30
GROW = """
import subprocess, sys
if sys.argv[1] == "below": sys.exit(subprocess.call([sys.executable, "-ISc", sys.argv[2], "here", ""]))
held = [bytearray(b"x") * (1 << 20) for _ in range(200)]
input()
"""
REST = "print(1, flush=True)\ninput()"
BURN = "print(1, flush=True)\nwhile True: pass"


def started(program: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-ISc", program, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def minder(pid: int, memory_bytes: int, percent: int = 10_000) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-S", minding.__file__, str(pid), str(memory_bytes), str(percent)]
    return subprocess.Popen(words, stdout=subprocess.PIPE)


def said(process: subprocess.Popen[Any]) -> bytes:
    out, _ = process.communicate(timeout=WAIT_S)
    return bytes(out)


def test_a_tree_that_grows_is_ended_at_its_root_and_that_is_said() -> None:
    grown = started(GROW, "below", GROW)
    assert said(minder(grown.pid, 64 << 20)) == minding.READY + minding.EXCEEDED
    grown.communicate(
        timeout=WAIT_S
    )  # and with its input ends the child, which has another first process in life
    assert grown.returncode == -signal.SIGKILL


def test_one_that_stays_small_ends_by_itself_and_nothing_is_said_of_it() -> None:
    resting = started(REST)
    assert resting.stdout is not None
    resting.stdout.readline()
    watching = minder(resting.pid, GIB)
    assert watching.stdout is not None
    assert watching.stdout.read(1) == minding.READY
    resting.communicate(b"\n", timeout=WAIT_S)
    assert resting.returncode == 0
    assert said(watching) == b""


def test_the_first_process_is_held_to_its_share_as_well() -> None:
    burning = started(BURN)
    assert burning.stdout is not None
    burning.stdout.readline()
    watching = minder(burning.pid, GIB, 20)
    assert watching.stdout is not None
    watching.stdout.read(1)
    excess: list[float] = []
    while (
        len(excess) < TRIES and min(excess, default=2) > 1
    ):  # of a few: a busy machine may let it look too late
        begin, before = time.monotonic(), cpu_s([burning.pid])
        select.select([], [], [], 1.5)
        used = cpu_s([burning.pid]) - before
        excess.append(used / ((time.monotonic() - begin + 0.1) * 0.2 * 1.15 + 0.05))
    burning.kill()
    burning.communicate(timeout=WAIT_S)
    said(watching)
    assert min(excess) <= 1


def test_a_process_that_is_gone_is_nobody_to_watch() -> None:
    gone = started("pass")
    gone.communicate(timeout=WAIT_S)
    assert said(minder(gone.pid, GIB)) == b""
