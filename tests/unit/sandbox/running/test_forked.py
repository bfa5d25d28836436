"""A forked launcher lives and ends like a started one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

import pytest

WAIT_S: Final = 30.0

# The fork happens in a process of its own, as it does in a child of the nursery.
OWNER: Final = """
import asyncio, json, os, signal
from sekisho.sandbox import ForkedLauncher
secret = open("/proc/self/status")
forked = ForkedLauncher.start()
shown = {}
def descriptors():
    folder = f"/proc/{forked.pid}/fd"
    return sorted(os.readlink(f"{folder}/{n}").partition(":")[0] for n in os.listdir(folder))
async def main():
    control = forked.take_control()
    control.send(json.dumps({"op": "kill", "id": 1}).encode())  # nobody has this number: the launcher lives on
    END
    shown["status"] = await forked.wait()
    shown["again"] = await forked.wait()
    forked.kill()
    forked.dismiss()  # harmless after the end
BEFORE
asyncio.run(main())
print(json.dumps(shown))
"""
TOLD: Final = (
    'import select\nwhile not open(f"/proc/{forked.pid}/cmdline").read().startswith("python\\0-I\\0-S"):\n'
    "    select.select([], [], [], 0.01)\n"
    'shown["words"] = open(f"/proc/{forked.pid}/cmdline").read().rstrip("\\0").split("\\0")[:3]\n'
    'shown["descriptors"] = descriptors()'
)


def owner(end: str, before: str = "") -> dict[str, Any]:
    program = OWNER.replace("END", end).replace("BEFORE", before)
    room = " " * 400  # the launcher writes its own command line over ours
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, room],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=WAIT_S,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.threat("T-ORPHAN")
def test_it_ends_when_its_socket_closes() -> None:
    assert owner("control.close()") == {"status": 0, "again": 0}


def test_it_can_be_killed_and_its_end_is_collected_once() -> None:
    assert owner("forked.kill()") == {"status": -9, "again": -9}


def test_one_that_nobody_needs_is_dismissed() -> None:
    assert owner("control.close(); forked.dismiss()")["status"] in (0, -9)


@pytest.mark.threat("T-READ-CORE")
def test_it_has_a_title_of_its_own_and_no_descriptor_of_its_owner() -> None:
    shown = owner("control.close()", TOLD)
    assert shown["words"] == ["python", "-I", "-S"]
    # the owner's open file and its pipe for standard output are not among them
    assert shown["descriptors"] == ["/dev/null", "/dev/null", "/dev/null", "socket"]
