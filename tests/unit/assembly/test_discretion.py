"""A process that hides its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import ctypes, os, resource, sys
from sekisho.assembly.discretion import hide_memory
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as any program that did not change its user
if sys.argv[1] == "hidden":
    hide_memory()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""
LOOK = """
import os, sys
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for name in ("mem", "environ", "maps", "fd"):
    try:
        os.close(os.open(f"/proc/{sys.argv[1]}/{name}", os.O_RDONLY))
    except PermissionError:
        continue
    print(name)
"""


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize(
    ("state", "open_files"), [("hidden", []), ("as usual", ["environ", "fd", "maps", "mem"])]
)
def test_others_of_its_user_cannot_read_what_it_holds(state: str, open_files: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        pid = process.stdout.readline().strip()
        assert pid, "it did not start"
        found = subprocess.run(
            [sys.executable, "-c", LOOK, pid], capture_output=True, text=True, check=True, timeout=30
        )
    assert sorted(found.stdout.split()) == open_files
