"""The launcher's side: a watcher listens or says that it cannot, tells to its end, and is gone afterwards."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
from typing import Any

import pytest

from sekisho.launcher.alarm import load, send_listener
from sekisho.launcher.calls import no_new_privileges
from sekisho.launcher.watcher import Watcher, start_watcher
from sekisho.sandbox.seccomp import MACHINES, assemble, refusals
from sekisho.sandbox.watched import watched_calls

MACHINE = platform.machine()
NUMBERS = MACHINES[MACHINE].numbers
SET_ID = 0o4755


def request(places: list[tuple[str, str]], kind: str = "landlock") -> dict[str, Any]:
    watched = {
        number: (one.paths, one.flags, one.mode)
        for number, one in watched_calls(NUMBERS, "all", shared=False).items()
    }
    stated = {"kind": kind, "refusals": refusals(MACHINE), "watched": watched, "places": places}
    read: dict[str, Any] = json.loads(json.dumps(stated))
    return read


def plugin(gate: socket.socket, other: socket.socket, body: str) -> int:
    """A process behind the filter that waits at its gate like any plugin."""
    pid = os.fork()
    if pid == 0:
        try:
            other.close()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            no_new_privileges()
            send_listener(gate, load(assemble(MACHINE, alarm=True, told="all"), alarm=True))
            gate.recv(1)
            exec(body, globals())  # noqa: S102 - the test's own words
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def watch(places: list[tuple[str, str]], body: str) -> tuple[int, list[dict[str, Any]]]:
    """How the plugin ended, and what its watcher told."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watcher = start_watcher(request(places), ours)
        pid = plugin(theirs, ours, body)
        try:
            assert watcher.listens()
            watcher.let_go()
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            watcher.dismiss()
            raise
        return code, watcher.finish()


def paths(told: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [tuple(one["found"][:3]) for one in told if one["event"] == "path" and one["found"]]


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
        watcher = start_watcher(request([]), ours)
        send_listener(theirs, None)
        assert not watcher.listens()
        watcher.dismiss()
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
    assert watcher.finish() == []
