"""Entering a container's network; that it works is shown in tests/real with real containers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from sekisho.launcher import entering

WAIT_S = 20


def test_a_process_that_is_gone_is_told_in_one_line() -> None:
    ended = subprocess.Popen([sys.executable, "-Ic", "pass"])
    ended.wait()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        entered = subprocess.run(
            [sys.executable, "-I", "-S", entering.__file__, str(ended.pid), str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
    assert entered.returncode == 1
    assert entered.stderr.count("\n") == 1
    assert f"/proc/{ended.pid}/ns" in entered.stderr


def test_a_process_of_the_host_is_no_container() -> None:
    with pytest.raises(OSError, match="is the host's own"):
        entering.open_namespace(os.getpid(), "net")
