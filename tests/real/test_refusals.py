"""What the filter refuses is told by name while the plugin runs, by every kind of walls, and costs us little."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.real.walled_run import finish, python_spec, start

from sekisho.sandbox import Bubblewrap, Landlock, Launched, Native, Violation, glance, probe

pytestmark = pytest.mark.real

if not glance("native").alarm:
    pytest.skip("this kernel cannot report refused calls", allow_module_level=True)

CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) for one in arguments])
x86 = os.uname().machine == 'x86_64'
PTRACE, UNSHARE, MOUNT = (101, 272, 165) if x86 else (117, 97, 40)
"""
KINDS = {kind.name: kind for kind in (Bubblewrap, Native, Landlock)}


@pytest.fixture(params=list(KINDS))
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Launched]:
    """Each kind that this host has."""
    found = probe(request.param)
    if found.missing:
        pytest.skip("; ".join(found.missing))
    async with KINDS[request.param](found) as made:
        yield made


async def test_refused_calls_are_told_by_name_within_a_second_and_fail_in_the_plugin(
    driver: Launched,
) -> None:
    program = CALL + (
        "print(call(PTRACE, 0, 0, 0, 0), call(UNSHARE, 0x10000000), call(MOUNT, 0, 0, 0, 0, 0), flush=True)\n"
        "sys.stdin.read()"
    )
    sandbox = await start(driver, python_spec(program))
    heard: asyncio.Queue[Violation] = asyncio.Queue()
    sandbox.when_refused(heard.put_nowait)
    wanted = {"ptrace", "unshare", "mount"}
    names: set[str] = set()
    async with asyncio.timeout(30):  # it still runs: it waits for its input
        while not wanted <= names | {one.what for one in sandbox.violations()}:
            names.add((await heard.get()).what)
    os.close(sandbox.stdin_fd)
    sandbox.stdin_fd = os.open(os.devnull, os.O_WRONLY)
    ended, out, _ = await finish(sandbox)
    assert (ended.code, out) == (0, "-1 -1 -1\n")


async def test_honest_work_raises_no_alarm(driver: Launched) -> None:
    program = "import json, threading, tempfile, subprocess; subprocess.run(['/bin/true']); print('done')"
    sandbox = await start(driver, python_spec(program))
    ended, out, err = await finish(sandbox)
    assert (ended.code, out) == (0, "done\n"), err
    assert sandbox.violations() == ()


async def test_each_call_is_told_once_at_first_and_counted_to_the_end(driver: Launched) -> None:
    sandbox = await start(driver, python_spec(CALL + "for _ in range(5): call(PTRACE, 0, 0, 0, 0)"))
    heard: list[Violation] = []
    sandbox.when_refused(heard.append)
    await finish(sandbox)
    assert len(heard) <= 1
    assert sandbox.violations() == (Violation(kind="seccomp", what="ptrace", times=5),)


async def test_a_plugin_that_rings_without_end_waits_for_us_and_not_we_for_it(driver: Launched) -> None:
    sandbox = await start(driver, python_spec(CALL + "while True: call(PTRACE, 0, 0, 0, 0)"))
    launcher = driver.launcher_pid
    assert launcher is not None
    ours = [launcher, *watchers(launcher)]
    assert len(ours) == 2
    begun, before = time.monotonic(), sum(map(ticks, ours))
    await asyncio.sleep(1)
    used = sum(map(ticks, ours)) - before
    passed_s = time.monotonic() - begun  # a busy machine wakes us later
    other = await start(driver, python_spec("print('served')"))
    _, out, _ = await finish(other)
    assert out == "served\n"
    assert used <= 30 * passed_s, f"{used} hundredths of a second in {passed_s:.1f} s"
    await sandbox.kill_tree()
    sandbox.close_fds()


def watchers(launcher: int) -> list[int]:
    """Who answers for it."""
    words = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(one) for one in words if b"watcher" in Path(f"/proc/{one}/cmdline").read_bytes()]


def ticks(pid: int) -> int:
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.skipif(glance().machine != "x86_64", reason="only x86_64 has a second entry")
async def test_a_call_through_a_foreign_entry_is_told_as_well(driver: Launched) -> None:
    program = (
        "import ctypes, mmap\n"
        "code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "code.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
        "ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()"
    )
    sandbox = await start(driver, python_spec(program))
    ended, _, _ = await finish(sandbox)
    assert ended.signal == signal.SIGSYS
    assert sandbox.violations() == (Violation(kind="seccomp", what="a call of a foreign architecture"),)
