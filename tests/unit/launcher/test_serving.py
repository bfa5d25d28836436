"""The parts of the launcher that can be shown without a namespace; its walls are shown in tests/real."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from pathlib import Path

import pytest

from sekisho.launcher import serving
from sekisho.launcher.children import Child
from sekisho.launcher.serving import Launcher


def test_its_entry_is_a_file_that_can_be_started_by_path() -> None:
    entry = Path(serving.ENTRY)
    assert entry.is_file()
    assert entry.parent == Path(serving.__file__).parent


@pytest.mark.parametrize("kind", ["native", "bubblewrap"])
def test_a_child_that_is_killed_at_its_birth_ends_nobody_else(kind: str) -> None:
    control, owner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gate, other_gate = socket.socketpair()
    status, writer = os.pipe()
    os.close(writer)  # it said nothing
    with control, owner, gate, other_gate, subprocess.Popen(["/bin/sleep", "600"]) as killed:
        pidfd = os.pidfd_open(killed.pid)
        killed.kill()
        select.select([pidfd], [], [])
        launcher = Launcher(control)
        child = Child(
            id=1,
            kind=kind,
            pid=killed.pid,
            pidfd=pidfd,
            gate=gate,
            status_fd=status,
            inner_rlimits={},
            guard_bytes=0,
            guard_pids=0,
            guard_cpu_percent=0,
            throttle=None,
        )
        launcher._children[1] = child
        for fd in (pidfd, status, gate.fileno()):
            launcher._poll.register(fd, select.POLLIN)
        launcher._attend(child, {pidfd, status})
        killed.returncode = -9  # the launcher has reaped it
        assert json.loads(owner.recv(4096)) == {"event": "failed", "id": 1, "message": ""}
        assert launcher._children == {}
