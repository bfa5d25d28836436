"""Programs that go beyond one limit each, and how exactly every wall must hold them."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any, Final

import dev
import pytest

from sekisho.policy import LimitGrant

__all__ = [
    "EXACT",
    "LIMITED",
    "PROCESSES",
    "assert_exact",
    "assert_share",
    "assert_stopped",
    "measured_as_user",
]

SCENE_S: Final = 180.0
MEMORY_MB: Final = 96
PERCENT: Final = 30
# Without the pages of files that others hold as well: no group is charged twice for them, and Pythons differ by ten MiB.
# Where /proc is closed it is what was asked for.
MEMORY: Final = """
import time
held = []
while True:
    held.append(bytearray(b"x") * (1 << 20))
    try:
        resident, shared = map(int, open("/proc/self/statm").read().split()[1:3])
        print((resident - shared) * 4096 >> 20, flush=True)
    except PermissionError:
        print(len(held), flush=True)
    time.sleep(0.002)
"""
# Two processes burn, and children that end are counted too.
PROCESSOR: Final = """
import json, os, time
begin, before = time.monotonic(), sum(os.times()[:4])
if os.fork() == 0:
    while time.monotonic() - begin < 2.5: pass
    os._exit(0)
while time.monotonic() - begin < 2.5:
    if os.fork() == 0:
        while time.process_time() < 0.05: pass
        os._exit(0)
    os.wait3(0)
try:
    while True: os.wait()
except ChildProcessError:
    pass
print(json.dumps([sum(os.times()[:4]) - before, time.monotonic() - begin]))
"""
PROCESSES: Final = """
import json, os, signal
made = 0
try:
    for _ in range(100):
        if os.fork() == 0: signal.pause()
        made += 1
except OSError as error:
    print(json.dumps([made, error.strerror]), flush=True)
"""
SCRATCH: Final = """
import errno, json, os
written = 0
with open(os.environ.get("TMPDIR", "/tmp") + "/fill", "wb", buffering=0) as file:
    try:
        while True: written += file.write(b"x" * 65536)
    except OSError as error:
        print(json.dumps([written, errno.errorcode[error.errno]]))
"""
FILES: Final = """
import errno, json, os
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(json.dumps([max(held) + 1, errno.errorcode[error.errno]]))
"""
LIMITED: Final[dict[str, tuple[str, LimitGrant]]] = {
    "memory": (MEMORY, LimitGrant(max_memory_mb=MEMORY_MB)),
    "processor": (PROCESSOR, LimitGrant(max_memory_mb=256, max_cpu_percent=PERCENT)),
    "processes": (PROCESSES, LimitGrant(max_memory_mb=256, max_pids=10)),
    "scratch": (SCRATCH, LimitGrant(max_memory_mb=256, max_tmp_mb=3)),
    "files": (FILES, LimitGrant(max_memory_mb=256, max_open_files=77)),
}
EXACT: Final = ("processes", "scratch", "files")


@functools.cache
def _scene(driver: str) -> dict[str, dict[str, Any]]:
    given = {what: [program, asdict(limits)] for what, (program, limits) in LIMITED.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.real.rootless", "limits", driver],
        cwd=dev.ROOT, timeout=SCENE_S, check=False, text=True, input=json.dumps(given), capture_output=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(ended.stdout)
    return found


def measured_as_user(driver: str, what: str) -> tuple[str, str, str]:
    """Why it ended and what it printed, in one scene for all of them, where an ordinary user runs the driver."""
    shown = _scene(driver)[what]
    return shown["why"], shown["out"], shown["err"]


def assert_stopped(why: str, out: str, err: str, *, at_most: float) -> None:
    """A hog was stopped when it had so many times its limit, and not long before it."""
    assert why == "oom", err
    assert MEMORY_MB * 0.5 < int(out.rsplit(maxsplit=1)[-1]) <= MEMORY_MB * at_most


def assert_share(out: str, err: str) -> None:
    used, lasted = json.loads(out or "null") or pytest.fail(err)
    # what one period lends at the beginning is no part of the share
    assert used <= (lasted + 0.1) * PERCENT / 100 * 1.15


def assert_exact(what: str, out: str, err: str) -> None:
    """Ten processes with the first; 3 MiB; 77 descriptors."""
    expected = {
        "processes": [9, "Resource temporarily unavailable"],
        "scratch": [3 << 20, "ENOSPC"],
        "files": [77, "EMFILE"],
    }
    assert json.loads(out or "null") == expected[what], err
