"""A container's watcher is started beside it, gets the listener by its gate, and goes when nobody is left to watch."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sekisho.launcher import watching
from sekisho.launcher.alarm import send_listener
from sekisho.launcher.kernel import memory_file
from sekisho.sandbox.calls.seccomp import MACHINES, refusals

WAIT_S = 20
MACHINE = platform.machine()
UNSHARE = MACHINES[MACHINE].numbers["unshare"]
ERRORS = {str(number): error for number, error in refusals(MACHINE).items()}
REQUEST = {"kind": "oci", "refusals": ERRORS, "watched": {}, "places": []}
RINGS = (
    f"import ctypes, os, socket, sys; sys.path[:] = {sys.path!r}\n"
    "from sekisho.launcher import alarm, calls\nfrom sekisho.sandbox.calls.seccomp import assemble\n"
    "gate = socket.socket(fileno=int(sys.argv[1])); calls.no_new_privileges()\n"
    f"alarm.send_listener(gate, alarm.load(assemble({MACHINE!r}, alarm=True), alarm=True))\n"
    "ctypes.CDLL(None).unshare(0x10000000)\n"
)


class Beside:
    """A watcher, our end of its line, and the end of its gate by which it gets the listener."""

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.gate, inner = socket.socketpair()
        self.line.settimeout(WAIT_S)
        request = memory_file(json.dumps(REQUEST).encode())
        words = [sys.executable, "-I", "-S", watching.__file__, str(theirs.fileno()), str(os.getpid())]
        with theirs, inner:
            self.process = subprocess.Popen(words, pass_fds=(theirs.fileno(),))
            socket.send_fds(self.line, [b"w"], [request, inner.fileno()])
        os.close(request)

    def close(self) -> None:
        self.line.close()
        self.gate.close()
        self.process.kill()
        self.process.wait(WAIT_S)


@pytest.fixture
def beside() -> Iterator[Beside]:
    one = Beside()
    yield one
    one.close()


def test_it_tells_what_rings_and_ends_with_whom_it_watched(beside: Beside) -> None:
    gate = beside.gate.fileno()
    rings = subprocess.Popen([sys.executable, "-c", RINGS, str(gate)], pass_fds=(gate,))
    told = [beside.line.recv(1 << 16) for _ in range(3)]
    assert told[0] == b"listens"
    assert [json.loads(one) for one in told[1:]] == [
        {"event": "alarm", "call": UNSHARE, "times": 1},
        {"event": "over"},
    ]
    assert rings.wait(WAIT_S) == 0
    assert beside.process.wait(WAIT_S) == 0


def test_where_no_listener_is_to_be_had_it_says_so_and_goes(beside: Beside) -> None:
    send_listener(beside.gate, None)
    assert beside.line.recv(16) == b"silent"
    assert beside.process.wait(WAIT_S) == 0


def test_it_goes_when_its_owner_hangs_up_before_anything_came(beside: Beside) -> None:
    beside.gate.close()
    assert beside.line.recv(16) == b"silent"
    assert beside.process.wait(WAIT_S) == 0
