"""Single calls to the kernel."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.launcher import kernel


def test_a_memory_file_reads_from_its_start() -> None:
    fd = kernel.memory_file(b"words\0")
    try:
        assert os.read(fd, 100) == b"words\0"
    finally:
        os.close(fd)


def test_a_message_brings_its_descriptors_closed_on_exec() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Path(os.devnull).open("rb") as file:
        socket.send_fds(theirs, [b"hello"], [file.fileno(), file.fileno()])
        data, fds = kernel.receive(ours)
        assert data == b"hello"
        assert [os.get_inheritable(fd) for fd in fds] == [False, False]
        for fd in fds:
            os.close(fd)


def test_a_limit_is_lowered_and_never_raised() -> None:
    child = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        kernel.set_limit("NOFILE", 64, child.pid)
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 64)
        kernel.set_limit("NOFILE", 4096, child.pid)
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 64)
    finally:
        child.communicate(b"\n")


def test_a_process_tree_holds_its_root_and_its_children() -> None:
    child = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(kernel.tree(os.getpid()))
        assert kernel.resident(os.getpid()) > 1 << 20
    finally:
        child.communicate(b"\n")
    assert kernel.resident(child.pid) == 0


def test_a_refused_kernel_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        kernel.write(str(tmp_path / "none"), "0")


def test_threads_are_counted_and_a_process_that_is_gone_has_none() -> None:
    assert kernel.threads(os.getpid()) >= 1
    assert kernel.threads(1 << 22) == 0


def test_a_word_is_taken_when_it_was_read_or_never_will_be() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert kernel.is_taken(ours)
        ours.send(b"x")
        assert not kernel.is_taken(ours)
        assert theirs.recv(1) == b"x"
        assert kernel.is_taken(ours)  # though it is open: bwrap's outer process has a copy of it for a while
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b"x")
        theirs.close()
        assert kernel.is_taken(ours)
