"""The filter with an alarm: what it refuses is told, and without a listener it refuses all the same."""

# ruff: noqa: PTH123 - the calls themselves are tried here
from __future__ import annotations

import errno
import os
import platform
import socket
from collections.abc import Callable

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.alarm import ANSWERS_PER_PERIOD, MAX_KINDS, Alarm, load, send_listener
from sekisho.launcher.calls import no_new_privileges
from sekisho.sandbox.calls.seccomp import MACHINES, assemble, refusals

MACHINE = platform.machine()
PTRACE = MACHINES[MACHINE].numbers["ptrace"]


def attempt(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def ask(tries: int) -> str:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def unshare() -> None:
        if libc.unshare(0x1000_0000):
            raise OSError(ctypes.get_errno(), "unshare")

    return " ".join(attempt(unshare) for _ in range(tries))


def ring(tries: int, ending: Callable[[Alarm], None]) -> str:
    """Let a child try, `ending` play the listener, and return what the child saw."""
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        ours.close()
        no_new_privileges()
        listener = load(assemble(MACHINE, alarm=True), alarm=True)
        assert listener is not None
        socket.send_fds(theirs, [b"l"], [listener])
        os.close(listener)
        os.write(writer, ask(tries).encode())
        os._exit(0)
    theirs.close()
    os.close(writer)
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    alarm = Alarm(fds[0], refusals(MACHINE))
    try:
        ending(alarm)
    finally:
        ours.close()
    with open(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


def answer(alarm: Alarm, *, passes: bool = False) -> int | None:
    """Let one call pass, or refuse it; its number."""
    notice = alarm.hear()
    if notice is None:
        return None
    key, _, number, _ = notice
    assert alarm.let_pass(key) if passes else alarm.refuse(key, number)
    return number


def test_a_refused_call_is_told_by_its_number_and_fails_in_the_program() -> None:
    heard: list[int | None] = []

    def listen(alarm: Alarm) -> None:
        heard.extend(answer(alarm) for _ in range(2))
        alarm.close()

    assert ring(2, listen) == "EPERM EPERM"
    assert heard == [MACHINES[MACHINE].numbers["unshare"]] * 2


def test_without_a_listener_the_call_fails_all_the_same() -> None:
    assert ring(2, lambda alarm: alarm.close()) == "ENOSYS ENOSYS"


def test_a_call_that_is_let_pass_is_made_and_its_arguments_are_told() -> None:
    heard: list[list[int]] = []

    def listen(alarm: Alarm) -> None:
        notice = alarm.hear()
        assert notice is not None
        heard.append(list(notice[3]))
        assert alarm.let_pass(notice[0])
        alarm.close()

    assert ring(1, listen) == "ok"
    assert heard[0][0] == 0x1000_0000


def test_who_has_its_answer_waits_no_more() -> None:
    waited: list[bool] = []

    def listen(alarm: Alarm) -> None:
        notice = alarm.hear()
        assert notice is not None
        waited.append(alarm.still_waits(notice[0]))
        alarm.let_pass(notice[0])
        waited.append(alarm.still_waits(notice[0]))
        alarm.close()

    assert ring(1, listen) == "ok"
    assert waited == [True, False]


def test_an_answer_to_somebody_who_is_gone_is_no_answer() -> None:
    with open(os.devnull, "rb") as file:
        alarm = Alarm(os.dup(file.fileno()), {})
    assert not alarm.let_pass(1)
    assert not alarm.refuse(1, PTRACE)
    alarm.close()


def test_it_refuses_no_more_than_its_share_of_a_period() -> None:
    def listen(alarm: Alarm) -> None:
        patience = []
        for _ in range(ANSWERS_PER_PERIOD):
            patience.append(alarm.is_patient)
            answer(alarm)
        patience.append(alarm.is_patient)
        alarm.refill()
        patience.append(alarm.is_patient)
        alarm.close()
        assert patience == [False] * ANSWERS_PER_PERIOD + [True, False]

    assert ring(ANSWERS_PER_PERIOD, listen).split() == ["EPERM"] * ANSWERS_PER_PERIOD


def test_who_rings_and_is_gone_uses_up_the_period_like_anybody_else() -> None:
    with open(os.devnull, "rb") as file:
        alarm = Alarm(os.dup(file.fileno()), {})  # every answer fails, as to somebody who died
    for _ in range(ANSWERS_PER_PERIOD):
        assert not alarm.is_patient
        assert alarm.hear() is None
    assert alarm.is_patient
    alarm.close()


def test_each_kind_is_new_once_and_the_kinds_are_bounded() -> None:
    alarm = Alarm(os.open(os.devnull, os.O_RDONLY), {})
    assert alarm.count(PTRACE)
    assert not alarm.count(PTRACE)
    assert alarm.counts == {PTRACE: 2}
    for number in range(1000, 1000 + 2 * MAX_KINDS):
        alarm.count(number)
    assert len(alarm.counts) == MAX_KINDS
    alarm.close()


def test_a_silent_filter_has_no_listener() -> None:
    def body() -> object:
        no_new_privileges()
        return load(assemble(MACHINE), alarm=False), ask(1)

    assert in_a_child(body) == "(None, 'EPERM')"


def test_a_second_listener_in_one_tree_is_refused_as_busy() -> None:
    def body() -> object:
        no_new_privileges()
        allow = bytes.fromhex("060000000000ff7f")
        load(allow, alarm=True)
        return attempt(lambda: load(allow, alarm=True))

    assert in_a_child(body) == "EBUSY"


@pytest.mark.parametrize("shared", [False, True])
def test_a_filter_with_an_alarm_refuses_what_a_silent_one_does(shared: bool) -> None:
    silent, loud = assemble(MACHINE, shared=shared), assemble(MACHINE, shared=shared, alarm=True)
    assert len(silent) == len(loud)
    for index in range(0, len(silent), 8):
        before, after = silent[index : index + 8], loud[index : index + 8]
        if before != after:
            assert before[:2] == after[:2] == b"\x06\x00"
            assert before[4:] in (b"\x01\x00\x05\x00", b"\x61\x00\x05\x00")
            assert after[4:] == b"\x00\x00\xc0\x7f"


@pytest.mark.parametrize("has_one", [True, False])
def test_the_listener_is_sent_and_given_away_or_its_want_is_told(has_one: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = os.open(os.devnull, os.O_RDONLY)
        send_listener(theirs, fd if has_one else None)
        word, fds, _, _ = socket.recv_fds(ours, 1, 1)
        assert (word, len(fds)) == ((b"l", 1) if has_one else (b"n", 0))
        for one in fds if has_one else [fd]:
            os.close(one)
