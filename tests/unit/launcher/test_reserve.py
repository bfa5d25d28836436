"""A child that waits: it is told once, holds nothing of anybody else's, and goes with its line."""

# ruff: noqa: PTH115 - the calls themselves are tried here
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.launcher.kernel import memory_file
from sekisho.launcher.reserve import Copy, Expected, Reserve
from sekisho.sandbox.host.probe import try_native

ALONE = try_native()


@pytest.fixture
def control() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield theirs


def request(**words: Any) -> dict[str, Any]:
    staging: dict[str, Any] = {"owner": None, "overlays": [], "sources": [], "mapped": [], "writable": []}
    plain = {
        "kind": "unsafe-none",
        "join": [],
        "rlimits": {},
        "staging": staging,
        "network": False,
        "options": [],
    }
    return plain | {"environment": {}, "cwd": "/", "inner_rlimits": {}, "data": {}} | words


def launch(reserve: Reserve, words: dict[str, Any], *theirs: int) -> bool:
    told = memory_file(json.dumps(words).encode())
    try:
        return reserve.tell(7, [told, *theirs])
    finally:
        os.close(told)


def said_by(reserve: Reserve, *command: str) -> str:
    """What a program without walls says that this child becomes."""
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    assert launch(reserve, request(command=list(command)), null, writing, null)
    for fd in (writing, null):
        os.close(fd)
    reserve.gate.send(b"x")
    with open(reading, encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        text = file.read().strip()
    os.waitpid(reserve.pid, 0)
    close(reserve)
    return text


def close(reserve: Reserve) -> None:
    reserve.gate.close()
    for fd in (reserve.pidfd, reserve.status, reserve.failure):
        os.close(fd)


def test_it_carries_out_what_it_is_told(control: socket.socket) -> None:
    assert said_by(Reserve.fork(control), "/bin/echo", "hello") == "hello"


def test_what_it_cannot_carry_out_it_says(control: socket.socket) -> None:
    reserve = Reserve.fork(control)
    assert launch(reserve, request(kind="paper"))
    assert os.read(reserve.failure, 4096) == b"walls of kind 'paper' are unknown"
    os.waitpid(reserve.pid, 0)
    close(reserve)


def test_it_goes_when_nobody_can_tell_it_anything_any_more(control: socket.socket) -> None:
    reserve = Reserve.fork(control)
    reserve.line.close()
    assert os.waitpid(reserve.pid, 0)[1] == 0
    close(reserve)


def test_one_that_is_gone_is_found_out(control: socket.socket) -> None:
    reserve = Reserve.fork(control)
    os.kill(reserve.pid, signal.SIGKILL)
    os.waitid(os.P_PID, reserve.pid, os.WEXITED | os.WNOWAIT)
    assert not launch(reserve, request())
    reserve.drop()
    with pytest.raises(ChildProcessError):
        os.waitpid(reserve.pid, 0)


@pytest.mark.real
@pytest.mark.threat("T-READ-HOST")
@pytest.mark.skipif(bool(ALONE), reason=f"no namespaces here: {ALONE}")
def test_it_waits_in_a_network_of_its_own_with_nothing_of_anybody_elses(control: socket.socket) -> None:
    secret = os.open("/etc/hostname", os.O_RDONLY)
    reserve = Reserve.fork(control, Expected("native"))
    script = "ls /proc/$PPID/fd | wc -l; readlink /proc/self/ns/net /proc/$PPID/fd/* | sort -u | grep -e net: -e hostname"
    lines = said_by(reserve, "/bin/sh", "-c", script).splitlines()
    os.close(secret)
    assert not [line for line in lines if "hostname" in line]
    networks = [line for line in lines if line.startswith("net:")]
    assert len(networks) == 1
    assert networks[0] != os.readlink("/proc/self/ns/net")


@pytest.mark.real
@pytest.mark.skipif(bool(ALONE), reason=f"no namespaces here: {ALONE}")
def test_no_two_share_a_network(control: socket.socket) -> None:
    several = [Reserve.fork(control, Expected("native")) for _ in range(2)]
    waiting, keeping = (
        os.pipe()
    )  # both live until it closes: a number may be given again once its network is gone
    ends = []
    for reserve in several:
        reading, writing = os.pipe()
        script = ["/bin/sh", "-c", "readlink /proc/self/ns/net; read x"]
        assert launch(reserve, request(command=script), waiting, writing, writing)
        os.close(writing)
        reserve.gate.send(b"x")
        ends.append(reading)
    names = [os.read(reading, 100) for reading in ends]
    for fd in (waiting, keeping):
        os.close(fd)
    assert len({name for name in names if name.startswith(b"net:")}) == 2
    for reserve, reading in zip(several, ends, strict=True):
        os.waitpid(reserve.pid, 0)
        os.close(reading)
        close(reserve)


@pytest.mark.threat("T-READ-HOST")
def test_a_program_that_was_replaced_or_written_is_no_more_the_one_that_was_copied(tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/true", tmp_path / "program"))
    copy = Copy.of(str(program))
    assert copy is not None
    assert copy.is_of(str(program))
    assert not copy.is_of("/bin/true")
    (tmp_path / "other").write_bytes(program.read_bytes())
    (tmp_path / "other").replace(program)
    assert not copy.is_of(str(program))
    program.unlink()
    assert not copy.is_of(str(program))
    os.close(copy.fd)
    assert Copy.of(str(tmp_path / "missing")) is None
    assert Copy.of("") is None
