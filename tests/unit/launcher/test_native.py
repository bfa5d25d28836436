"""Our own walls: the parts that can be looked at without raising them. They are raised in tests/real/test_native.py."""

from __future__ import annotations

import socket

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.native import ALL_NAMESPACES, INIT_NAME, is_closed, probe_walls


def test_every_namespace_is_new() -> None:
    flags = {
        "NEWNS": 0x0002_0000,
        "NEWCGROUP": 0x0200_0000,
        "NEWUTS": 0x0400_0000,
        "NEWIPC": 0x0800_0000,
        "NEWUSER": 0x1000_0000,
        "NEWPID": 0x2000_0000,
        "NEWNET": 0x4000_0000,
    }
    assert sum(flags.values()) == ALL_NAMESPACES
    assert len(INIT_NAME) < 16  # what the kernel keeps of a name


def test_a_trial_ends_with_its_process(capfd: pytest.CaptureFixture[str]) -> None:
    in_a_child(probe_walls)
    capfd.readouterr()  # a host without namespaces says why; it is no error here


def test_a_launcher_that_let_go_and_died_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.send(b"x")
        assert theirs.recv(1) == b"x"
        assert not is_closed(theirs)
        ours.close()
        assert is_closed(theirs)
