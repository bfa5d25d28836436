from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.assembly.children import Child
from sekisho.keys.files import write_private

WAIT_S = 60.0  # a bound; two interpreters have to start

GRANDPARENT = """
import os, signal, subprocess, sys
program = '''
import os, signal, sys
from sekisho.assembly.children import die_with_parent
if sys.argv[2] == "guarded":
    die_with_parent(int(sys.argv[1]))
print(os.getpid(), flush=True)
signal.pause()
'''
child = subprocess.Popen([sys.executable, "-Ic", program, str(os.getpid()), sys.argv[1]], stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
signal.pause()
"""


async def _orphan(mode: str) -> tuple[int, int]:
    """A process whose parent was killed, as its id and a descriptor that tells its end."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-Ic", GRANDPARENT, mode, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), WAIT_S))
    handle = os.pidfd_open(child)
    parent.kill()
    await parent.wait()
    return child, handle


@pytest.mark.threat("T-ORPHAN")
async def test_a_child_dies_with_its_parent_however_that_ends() -> None:
    _, handle = await _orphan("guarded")
    ready, _, _ = await asyncio.to_thread(select.select, [handle], [], [], WAIT_S)
    os.close(handle)
    assert ready


async def test_a_process_that_did_not_ask_lives_on() -> None:
    child, handle = await _orphan("unguarded")
    ready, _, _ = select.select([handle], [], [], 0)
    os.kill(child, signal.SIGKILL)
    os.close(handle)
    assert not ready


async def test_a_child_whose_parent_ended_first_does_not_start() -> None:
    program = (
        "from sekisho.assembly.children import die_with_parent; die_with_parent(1 << 30); print('lives')"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-Ic", program, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert (process.returncode, output) == (1, b"")


async def test_a_child_that_ends_is_started_again_until_we_stop(tmp_path: Path) -> None:
    events: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    child = Child(
        "plugin",
        ["plugin", str(tmp_path / "absent.toml"), str(tmp_path), "files"],
        log=lambda event, **facts: events.put_nowait({"event": event} | facts),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(child.run())
        for _ in range(2):
            ended = await asyncio.wait_for(events.get(), WAIT_S)
            assert (ended["event"], ended["role"]) == ("process_ended", "plugin")
            assert ended["status"] != 0
        running.cancel()
    child.send_signal(signal.SIGHUP)  # nobody is there to hear it


async def test_a_child_that_is_over_is_not_started_again(tmp_path: Path) -> None:
    told: list[str] = []
    child = Child(
        "plugin",
        ["plugin", str(tmp_path / "absent.toml"), str(tmp_path), "files"],
        log=lambda event, **facts: told.append(event),
    )
    statuses: list[int] = []

    def is_over(status: int) -> bool:
        statuses.append(status)
        return len(statuses) == 2

    child.is_over = is_over
    await asyncio.wait_for(child.run(), WAIT_S)
    assert len(statuses) == 2
    assert all(statuses)
    assert told == ["process_ended"]  # the first time; the second is its owner's matter


def _ended(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "sekisho.assembly", str(os.getpid()), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)


def test_a_role_that_does_not_exist_is_refused() -> None:
    ended = _ended("cook", "/c", "/h")
    assert ended.returncode == 1
    assert ended.stderr.startswith("sekisho: there is no role 'cook'\n→ ")


def test_a_child_that_cannot_begin_says_why_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "sekisho.toml"
    config.write_text("")
    book = tmp_path / "home" / "keys" / "clients" / "tokens.json"
    write_private(book, b"{")
    ended = _ended("core", config, tmp_path / "home")
    assert ended.returncode == 1
    assert ended.stderr == f"sekisho: {book} is damaged\n→ check the key folder and its permissions\n"
    told = json.loads(_ended("core", config, tmp_path / "home", "--json").stderr)
    remedy = "check the key folder and its permissions"
    assert told == {"error": {"code": "key_unavailable", "message": f"{book} is damaged", "remedy": remedy}}
