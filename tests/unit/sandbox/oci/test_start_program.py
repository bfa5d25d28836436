"""The first program of a container, run here without one: it loads the filter, hands it out, waits, and is the plugin."""

from __future__ import annotations

import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.launcher.kernel import receive
from sekisho.sandbox.calls.seccomp import assemble
from sekisho.sandbox.oci.start_program import FAILED, MACHINES, candidates, start_program

WAIT_S = 20
LET_PASS = "__import__('struct').pack('=HBBI', 6, 0, 0, 0x7FFF_0000)"
LISTENED = (
    sys.executable,
    "-c",
    (
        f"import os, sys; sys.path[:] = {sys.path!r}\nfrom sekisho.launcher import alarm, calls\n"
        f"calls.no_new_privileges(); held = alarm.load({LET_PASS}, alarm=True)\n"
        "os.set_inheritable(held, True); os.execv(sys.argv[1], sys.argv[1:])"
    ),
)
ENOENT, EACCES = 2, 13

pytestmark = pytest.mark.skipif(
    platform.machine() not in MACHINES,
    reason="the start program is for x86-64; elsewhere the engine loads the filter",
)


class Stage:
    """A door, and the program that was made for it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "door")
        self.program = folder / "start"
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.door.settimeout(WAIT_S)
        self.door.bind(self.path)
        self.door.listen(1)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(
        self, *command: str, programs: tuple[str, ...] = (), below: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        machine = platform.machine()
        silent, alarm = assemble(machine), assemble(machine, alarm=True)
        self.program.write_bytes(start_program(self.path, programs or command[:1], silent, alarm))
        self.program.chmod(0o755)
        made = subprocess.Popen(
            [*below, self.program, *command],
            env={"GREETING": "hello"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(made)
        return made

    def close(self) -> None:
        self.door.close()
        for one in self.started:
            one.kill()
            one.communicate(timeout=WAIT_S)

    def welcome(self) -> tuple[socket.socket, bytes, list[int]]:
        guest, _ = self.door.accept()
        guest.settimeout(WAIT_S)
        return guest, *receive(guest)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path)
    yield one
    one.close()


def test_it_hands_out_a_listener_waits_and_becomes_the_plugin_with_its_words_and_environment(
    stage: Stage,
) -> None:
    script = 'echo "$GREETING $1"; ls /proc/self/fd | wc -l; grep Seccomp: /proc/self/status'
    started = stage.start("/bin/sh", "-c", script, "sh", "there")
    guest, word, fds = stage.welcome()
    assert word == b"l"
    assert str(Path(f"/proc/self/fd/{fds[0]}").readlink()) == "anon_inode:seccomp notify"
    assert Path(f"/proc/{started.pid}/exe").readlink() == stage.program, (
        "nothing of the plugin runs before the word"
    )
    guest.send(b"x")
    assert guest.recv(4) == b"", "the door closes when the plugin is executed"
    out, _ = started.communicate(timeout=WAIT_S)
    assert out.decode().split("\n")[:3] == [
        "hello there",
        "4",
        "Seccomp:\t2",
    ]  # the standard three and the listing's own
    for fd in (*fds, guest.detach()):
        os.close(fd)


def test_what_the_filter_refuses_fails_when_nobody_listens_any_more(stage: Stage) -> None:
    started = stage.start("/usr/bin/unshare", "--mount", "/bin/true")
    guest, _, fds = stage.welcome()
    guest.send(b"x")
    os.close(fds[0])
    with guest:
        assert started.wait(WAIT_S) != 0


@pytest.mark.parametrize(
    ("programs", "number"),
    [
        (("/nothing/there",), ENOENT),
        (("/nothing/there", "/etc/passwd"), EACCES),
        (("/etc/passwd", "/none"), EACCES),
    ],
)
def test_a_plugin_that_cannot_be_executed_is_told_with_the_reason(
    stage: Stage, programs: tuple[str, ...], number: int
) -> None:
    started = stage.start("x", programs=programs)
    guest, _, fds = stage.welcome()
    with guest:
        guest.send(b"x")
        assert guest.recv(8) == struct.pack("<i", -number)
    os.close(fds[0])
    assert started.wait(WAIT_S) == FAILED


def test_without_the_word_nothing_is_executed(stage: Stage, tmp_path: Path) -> None:
    started = stage.start("/usr/bin/touch", str(tmp_path / "made"))
    guest, _, fds = stage.welcome()
    guest.close()
    os.close(fds[0])
    assert started.wait(WAIT_S) == FAILED
    assert not (tmp_path / "made").exists()


def test_without_a_door_nothing_is_executed(stage: Stage, tmp_path: Path) -> None:
    stage.door.close()
    assert stage.start("/usr/bin/touch", str(tmp_path / "made")).wait(WAIT_S) == FAILED
    assert not (tmp_path / "made").exists()


def test_where_somebody_above_has_a_listener_the_silent_filter_stands(stage: Stage) -> None:
    started = stage.start("/usr/bin/unshare", "--mount", "/bin/true", below=LISTENED)
    guest, word, fds = stage.welcome()
    assert (word, fds) == (b"n", [])
    with guest:
        guest.send(b"x")
        assert started.wait(WAIT_S) == 1
    assert started.stderr is not None
    assert b"Operation not permitted" in started.stderr.read()


def test_a_bare_name_is_looked_for_in_the_folders_that_stand_still() -> None:
    assert candidates("server", {"PATH": ".:/usr/local/bin/:/bin:"}) == (
        "/usr/local/bin/server",
        "/bin/server",
    )
    assert candidates("./server", {"PATH": "/bin"}) == ("./server",)
    assert candidates("/opt/server", {}) == ("/opt/server",)
