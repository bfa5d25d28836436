"""The parts of the launcher that can be shown without a namespace; its walls are shown in tests/real."""

from __future__ import annotations

import ast
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.sandbox import launcher

SOURCE = Path(launcher.__file__)


def test_it_imports_the_standard_library_only() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert "threading" not in names


def test_a_mark_becomes_its_number_and_other_words_stay() -> None:
    numbers = {"gate": 7, "/etc/passwd": 9}
    words = ("{fd:gate}", "{fd:/etc/passwd}", "{fd:other}", "gate", "x{fd:gate}")
    assert [launcher.fill(word, numbers) for word in words] == ["7", "9", "{fd:other}", "gate", "x{fd:gate}"]


def test_a_status_counts_only_when_its_line_is_complete() -> None:
    assert launcher.status_member(b'{ "child-pid": 12 }', "child-pid") is None
    assert launcher.status_member(b'{ "child-pid": 12 }\n{ "exit-c', "child-pid") == 12
    assert launcher.status_member(b'{ "child-pid": 12 }\n{ "exit-code": 0 }\n', "exit-code") == 0
    assert launcher.status_member(b"", "child-pid") is None


def test_a_memory_file_reads_from_its_start() -> None:
    fd = launcher.memory_file(b"words\0")
    try:
        assert os.read(fd, 100) == b"words\0"
    finally:
        os.close(fd)


def test_a_message_brings_its_descriptors_closed_on_exec() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Path(os.devnull).open("rb") as file:
        socket.send_fds(theirs, [b"hello"], [file.fileno(), file.fileno()])
        data, fds = launcher.receive(ours)
        assert data == b"hello"
        assert [os.get_inheritable(fd) for fd in fds] == [False, False]
        for fd in fds:
            os.close(fd)


def test_a_limit_is_lowered_and_never_raised() -> None:
    child = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        launcher.set_limit("NOFILE", 64, child.pid)
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 64)
        launcher.set_limit("NOFILE", 4096, child.pid)
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 64)
    finally:
        child.communicate(b"\n")


def test_a_process_tree_holds_its_root_and_its_children() -> None:
    child = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(launcher.tree(os.getpid()))
        assert launcher.resident(os.getpid()) > 1 << 20
    finally:
        child.communicate(b"\n")
    assert launcher.resident(child.pid) == 0


def test_a_refused_kernel_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        launcher.write(str(tmp_path / "none"), "0")


def test_a_failure_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"no mount")
    os.close(writing)
    assert launcher.read_failure(reading) == "no mount"


def test_a_launcher_that_is_not_our_child_refuses_to_live() -> None:
    ended = subprocess.run([sys.executable, "-I", "-S", str(SOURCE), "probe", "1"], check=False, timeout=20)
    assert ended.returncode == 1
