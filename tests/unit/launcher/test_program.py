"""The program and its minder: descriptors, limits, and ends that are told apart."""

# ruff: noqa: PTH123 - the calls themselves are tried here
from __future__ import annotations

import json
import os
import signal

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.program import NOT_RUN, Program, decoded, exit_code, mind


def run(*command: str, limits: dict[str, int] | None = None, cwd: str = "/") -> tuple[int, str, str]:
    """The minder's own end, what it told, and what the program printed."""
    out, status, null = os.pipe(), os.pipe(), os.open(os.devnull, os.O_RDWR)
    program = Program(
        command=list(command),
        environment={"A": "b"},
        cwd=cwd,
        limits=limits or {},
        stdio=[null, out[1], out[1]],
        channel=None,
    )

    def body() -> object:
        os.dup2(out[1], 2)
        pid, complaint = program.start()
        return mind(pid, complaint, status[1])

    code = in_a_child(body)
    for fd in (out[1], status[1], null):
        os.close(fd)
    with open(out[0], "rb") as said, open(status[0], "rb") as told:
        return int(code), told.read().decode(), said.read().decode()


def test_an_exit_code_is_told_and_passed_on() -> None:
    assert run("/bin/sh", "-c", "exit 7") == (7, '{"exit-code": 7}\n', "")


def test_a_signal_is_told_as_a_negative_number() -> None:
    code, told, _ = run("/bin/sh", "-c", "kill -15 $$")
    assert (code, json.loads(told)) == (128 + 15, {"exit-code": -15})


def test_a_program_that_never_ran_has_no_exit_code_and_says_why() -> None:
    code, told, said = run("/no/such/program")
    assert (code, told) == (NOT_RUN, "")
    assert "/no/such/program" in said
    assert run("/bin/true", cwd="/no/such/folder")[0] == NOT_RUN


@pytest.mark.parametrize(
    "limits", [{"NOFILE": 77}, {"NOFILE": 77, "DATA": 1 << 30}], ids=["shared", "forked"]
)
def test_it_gets_its_environment_its_folder_its_limits_and_nothing_more(limits: dict[str, int]) -> None:
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)
    _, _, said = run(
        "/bin/sh", "-c", 'echo $A $(pwd) $(ulimit -n); ls /proc/self/fd | tr "\\n" " "', limits=limits
    )
    os.close(leak)
    first, second = said.splitlines()
    assert first == "b / 77"
    assert second.split() == ["0", "1", "2", "3"]  # the last is ls reading the folder


def test_a_minder_with_more_open_files_than_the_program_may_have_minds_it_all_the_same() -> None:
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(80)]
    code, told, said = run("/bin/sh", "-c", "echo $(ulimit -n) >&2; exit 7", limits={"NOFILE": 60})
    for fd in many:
        os.close(fd)
    assert (code, told, said) == (7, '{"exit-code": 7}\n', "60\n")


def test_a_channel_is_open_in_the_program_and_other_descriptors_of_ours_are_not() -> None:
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)

    def body() -> object:
        program = Program(
            command=["/bin/sh", "-c", f"echo inside > /proc/self/fd/{writer}"],
            environment={},
            cwd="/",
            limits={"NOFILE": 77},
            stdio=[null, null, null],
            channel=writer,
        )
        pid, complaint = program.start()
        return mind(pid, complaint, null)

    assert in_a_child(body) == "0"
    os.close(writer)
    with open(reader, "rb") as told:
        assert told.read() == b"inside\n"
    os.close(null)


def test_a_session_of_its_own_and_default_signals() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        _, told, said = run("/bin/sh", "-c", "echo $(ps -o sid= -p $$) $$; kill -USR1 $$")
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    sid, pid = said.split()
    assert sid == pid
    assert json.loads(told) == {"exit-code": -signal.SIGUSR1}


def test_a_request_names_its_channel_by_a_word() -> None:
    words = {
        "command": ["x", "{fd:channel}", "{fd:other}"],
        "environment": {},
        "cwd": "/",
        "inner_rlimits": {},
    }
    program = Program.of(words, [10, 11, 12, 13])
    assert program.command == ["x", "13", "{fd:other}"]
    assert program.fds == {10, 11, 12, 13}
    assert Program.of(words, [10, 11, 12]).fds == {10, 11, 12}
    assert decoded({"a": "eA=="}) == {"a": b"x"}


@pytest.mark.parametrize(("status", "code"), [(0, 0), (3 << 8, 3), (9, 137)])
def test_a_wait_status_becomes_a_shells_code(status: int, code: int) -> None:
    assert exit_code(status) == code
