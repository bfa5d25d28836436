"""System calls by name: the kernel's refusals become errors, and an unknown call is never guessed."""

# ruff: noqa: PTH123 - the calls themselves are tried here
from __future__ import annotations

import errno
import os

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.calls import (
    NUMBERS,
    call,
    capset_nothing,
    clone,
    drop_bounding_set,
    no_new_privileges,
    prctl,
)
from sekisho.sandbox.calls.syscalls import AARCH64, X86_64


def status(*names: str) -> dict[str, str]:
    with open("/proc/self/status") as file:
        rows = dict(line.split(":", 1) for line in file)
    return {name: rows[name].strip() for name in names}


@pytest.mark.parametrize(("machine", "table"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_every_number_is_that_of_the_filters_table(machine: str, table: dict[str, int]) -> None:
    assert {name: table[name] for name in NUMBERS[machine]} == NUMBERS[machine]


def test_a_refused_call_is_an_error_with_its_name() -> None:
    with pytest.raises(OSError, match="openat2") as caught:
        call("openat2", -1, b"/", bytes(24), 1)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="no number is known"):
        call("no_such_call")
    with pytest.raises(OSError, match="a name"):
        prctl("a name", 9999)


def test_a_clone_is_a_fork() -> None:
    def body() -> object:
        # in a process with one thread, as it must be: another's lock would stay locked in the clone
        pid = clone(17)  # SIGCHLD
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_a_child(body) == "7"


def test_privileges_are_gone_for_good() -> None:
    def body() -> object:
        if os.geteuid() == 0:
            drop_bounding_set()
        no_new_privileges()
        capset_nothing()
        return status("CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs")

    none = "0" * 16
    assert in_a_child(body) == str(
        {"CapEff": none, "CapPrm": none, "CapInh": none, "CapAmb": none, "NoNewPrivs": "1"}
    )
    assert status("NoNewPrivs") != {"NoNewPrivs": ""}
