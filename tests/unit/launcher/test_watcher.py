"""The launcher's side: a watcher listens or says that it cannot, tells to its end, and is gone afterwards."""

# ruff: noqa: PTH115, PTH208 - the calls themselves are tried here

from __future__ import annotations

import errno
import json
import os
import platform
import select
import signal
import socket
from typing import Any

import pytest

from sekisho.launcher.alarm import load, send_listener
from sekisho.launcher.calls import call, no_new_privileges
from sekisho.launcher.kernel import memory_file
from sekisho.launcher.watch import MAX_LATER
from sekisho.launcher.watcher import Watcher
from sekisho.sandbox.calls.seccomp import MACHINES, assemble, refusals
from sekisho.sandbox.calls.watched import watched_calls

MACHINE = platform.machine()
NUMBERS = MACHINES[MACHINE].numbers
SET_ID = 0o4755
WAIT_S = 20.0


def request(places: list[tuple[str, str]], kind: str = "landlock") -> dict[str, Any]:
    watched = {
        number: (one.paths, one.flags, one.mode)
        for number, one in watched_calls(NUMBERS, "all", shared=False).items()
    }
    stated = {"kind": kind, "refusals": refusals(MACHINE), "watched": watched, "places": places}
    read: dict[str, Any] = json.loads(json.dumps(stated))
    return read


def watching(places: list[tuple[str, str]], gate: socket.socket, kind: str = "landlock") -> Watcher:
    """One that has its launch."""
    watcher = Watcher.fork()
    told = memory_file(f"{{}}\n{json.dumps(request(places, kind))}".encode())
    assert watcher.tell(told, gate)
    os.close(told)
    return watcher


def listens(watcher: Watcher) -> bool | None:
    """Its first word."""
    assert select.select([watcher.line], [], [], WAIT_S)[0]
    assert watcher.hear() == []
    return watcher.listens


def end(watcher: Watcher) -> list[dict[str, Any]]:
    """The last it tells; then it is gone."""
    watcher.ask_for_the_last()
    told: list[dict[str, Any]] = []
    while not watcher.is_done and select.select([watcher.line], [], [], WAIT_S)[0]:
        heard = watcher.hear()
        if heard is None:
            break
        told += heard
    watcher.dismiss()
    watcher.reap()
    return told


def plugin(gate: socket.socket, other: socket.socket, body: str, builds: str = "") -> int:
    """A process behind the filter that waits at its gate like any plugin; before, it may build like bwrap."""
    pid = os.fork()
    if pid == 0:
        try:
            other.close()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            no_new_privileges()
            code = assemble(MACHINE, alarm=True, told="all", before_bwrap=bool(builds))
            send_listener(gate, load(code, alarm=True))
            exec(builds, globals())  # noqa: S102 - the test's own words
            gate.recv(1)
            exec(body, globals())  # noqa: S102 - the test's own words
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def watch(places: list[tuple[str, str]], body: str, builds: str = "") -> tuple[int, list[dict[str, Any]]]:
    """How the plugin ended, and what its watcher told."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watcher = watching(places, ours, "bubblewrap" if builds else "landlock")
        pid = plugin(theirs, ours, body, builds)
        try:
            assert listens(watcher)
            watcher.let_go()
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            watcher.dismiss()
            watcher.reap()
            raise
        return code, end(watcher)


def paths(told: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [tuple(one["found"][:3]) for one in told if one["event"] == "path" and one["found"]]


def look_beneath(root: str) -> str:
    """What `openat2` says: "ok", or the name of its error."""
    how = bytes(8 * 2) + (0x10).to_bytes(8, "little")  # RESOLVE_IN_ROOT, as bwrap asks
    folder = os.open(root, os.O_PATH)
    try:
        os.close(call("openat2", folder, b"/", how, len(how)))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        os.close(folder)
    return "ok"


def test_what_bwrap_builds_with_works_until_the_walls_stand_and_does_not_exist_then() -> None:
    code, told = watch(
        [("/", "read")],
        "assert [look_beneath('/') for _ in range(99)] == ['ENOSYS'] * 99",
        builds="assert look_beneath('/') == 'ok'",
    )
    assert (code, told) == (0, [])


def test_what_is_not_listed_is_told_and_what_is_listed_is_not(tmp_path: Any) -> None:
    for name in ("listed", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    body = f"os.open('{tmp_path}/listed/file', 0); os.open('{tmp_path}/other/file', 0); os.chdir('{tmp_path}/other')"
    code, told = watch([(f"{tmp_path}/listed", "read")], f"{body}; os.open('file', 2)")
    assert code == 0, "it tells, and the walls decide: here stand none"
    assert set(paths(told)) == {
        ("read", f"{tmp_path}/other/file", "unlisted"),
        ("write", f"{tmp_path}/other/file", "unlisted"),
    }


def test_a_program_is_read_in_its_own_memory_though_it_was_begun_in_another_one(tmp_path: Any) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text("")
    # The C library's spawn lends the child its parent's memory until the child becomes another program.
    body = (
        f"actions = [(os.POSIX_SPAWN_OPEN, 9, '{tmp_path}/first', os.O_RDONLY, 0)]\n"
        f"words = ['cat', '{tmp_path}/second']\n"
        "pid = os.posix_spawn('/bin/cat', words, {}, file_actions=actions)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    code, told = watch([("/usr", "read"), ("/lib", "read"), ("/etc", "read"), ("/bin", "read")], body)
    assert code == 0
    assert set(paths(told)) == {("read", f"{tmp_path}/{name}", "unlisted") for name in ("first", "second")}


def test_what_waits_for_a_look_is_looked_at_part_by_part_and_nothing_is_forgotten(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    more = 2 * MAX_LATER + 1
    code, told = watch([("/usr", "read")], f"for _ in range({more}): os.close(os.open('{tmp_path}/file', 0))")
    assert code == 0
    found = [one["found"] for one in told if one["event"] == "path" and one["found"][1] == f"{tmp_path}/file"]
    assert sum(times for _, _, _, times in found) == more


def test_a_refused_call_is_refused_and_told_by_its_number(tmp_path: Any) -> None:
    body = (
        f"made = '{tmp_path}/made'; os.open(made, os.O_CREAT | os.O_WRONLY, 0o644)\n"
        "for call in (lambda: os.chmod(made, SET_ID), lambda: os.open(made + '2', os.O_CREAT | os.O_WRONLY, SET_ID)):\n"
        "    try: call()\n"
        "    except PermissionError: continue\n"
        "    os._exit(3)\n"
    )
    code, told = watch([(str(tmp_path), "write")], body)
    assert code == 0
    assert {one["call"] for one in told if one["event"] == "alarm"} == {NUMBERS["chmod"], NUMBERS["openat"]}
    assert not (tmp_path / "made2").exists()


@pytest.mark.parametrize("pointer", [0, 1, (1 << 47) - 1])
def test_hostile_pointers_leave_it_at_work(tmp_path: Any, pointer: int) -> None:
    (tmp_path / "file").write_text("")
    body = (
        "import ctypes; libc = ctypes.CDLL(None)\n"
        f"for _ in range(3): libc.syscall({NUMBERS['openat']}, -100, ctypes.c_long({pointer}), 0, 0)\n"
        "try: os.open('/' + 'a' * 4095, 0)\n"
        "except OSError: pass\n"
        f"os.open('{tmp_path}/file', 0)\n"
    )
    code, told = watch([("/nowhere", "read")], body)
    assert code == 0
    assert paths(told)[-1] == ("read", f"{tmp_path}/file", "unlisted")


def test_a_watcher_without_a_listener_says_so_and_goes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watcher = watching([], ours)
        send_listener(theirs, None)
        assert listens(watcher) is False
        watcher.dismiss()
        watcher.reap()
        with pytest.raises(ProcessLookupError):
            os.kill(watcher.pid, 0)


def test_a_watcher_that_is_gone_has_no_more_to_tell() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    watcher = Watcher(pid, ours)
    theirs.send(json.dumps({"event": "alarm", "call": 1, "times": 1}).encode())
    theirs.close()
    assert watcher.hear() == [{"event": "alarm", "call": 1, "times": 1}]
    assert watcher.hear() is None
    assert not watcher.is_done
    assert end(watcher) == []


def test_one_that_waits_goes_with_its_line_and_one_that_is_gone_is_found_out() -> None:
    watcher = Watcher.fork()
    watcher.line.close()
    assert os.waitpid(watcher.pid, 0)[1] == 0
    os.close(watcher.pidfd)
    other = Watcher.fork()
    os.kill(other.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        told = memory_file(b"{}\n{}")
        assert not other.tell(told, ours)
        os.close(told)
    other.dismiss()
    other.reap()


@pytest.mark.threat("T-READ-HOST")
def test_one_that_was_forked_ahead_holds_nothing_of_anybody_elses() -> None:
    secret = os.open("/etc/hostname", os.O_RDONLY)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watcher = watching([], ours)
        pid = plugin(theirs, ours, "")
        assert listens(watcher)
        folder = f"/proc/{watcher.pid}/fd"
        held = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
        watcher.let_go()
        os.waitpid(pid, 0)
        end(watcher)
    assert os.readlink(f"/proc/self/fd/{secret}") not in held
    assert any("seccomp notify" in name for name in held)
    os.close(secret)
