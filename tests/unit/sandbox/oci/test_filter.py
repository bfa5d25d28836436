"""The profile for container engines decides like our own filter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sandbox.calls.test_seccomp import ALLOW, CHECKED, ask
from tests.unit.sandbox.calls.test_seccomp import decide as run_filter

from sekisho.errors import Misconfigured
from sekisho.sandbox.calls.seccomp import MACHINES, assemble
from sekisho.sandbox.oci.filter import open_profile, profile

INTERESTING = st.sampled_from(
    [
        *(
            0,
            1,
            2,
            5,
            6,
            10,
            16,
            17,
            0x5411,
            0x5412,
            0x5413,
            0x541C,
            0x541D,
            0x541E,
            0o100,
            0o755,
            0o4755,
            0o2644,
            1024,
        ),
        *(0x1000_0000, 0x0002_0000, 0o100644, 0o104644, 0o020666, 0o010600, 0o20200000, 0xFFFF_FFFF),
    ]
)
ARGUMENTS = st.lists(
    st.one_of(INTERESTING, st.integers(0, 2**32 - 1), INTERESTING.map(lambda value: value | 1 << 32)),
    min_size=6,
    max_size=6,
)


def decide(machine: str, name: str, arguments: list[int], *, unix_sockets: bool = True) -> str | int:
    """What a runtime makes of the profile: rules of one call are alternatives, the conditions of one rule are not."""
    said: dict[str, Any] = json.loads(profile(machine, unix_sockets=unix_sockets))
    mine = [rule for rule in said["syscalls"] if name in rule["names"]]
    if not mine:
        return int(said["defaultErrnoRet"])
    for rule in mine:
        if all(
            arguments[one["index"]] & one["value"] == one["valueTwo"] and one["op"] == "SCMP_CMP_MASKED_EQ"
            for one in rule.get("args", [])
        ):
            return "allow" if rule["action"] == "SCMP_ACT_ALLOW" else int(rule["errnoRet"])
    return int(said["defaultErrnoRet"])


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_calls_without_conditions_are_decided_alike(machine: str) -> None:
    for name in sorted(set(MACHINES[machine].numbers) - CHECKED):
        ours = ask(machine, name)
        theirs = decide(machine, name, [0] * 6)
        assert (theirs == "allow") == (ours == ALLOW), name


@pytest.mark.parametrize("machine", sorted(MACHINES))
@given(arguments=ARGUMENTS, data=st.data())
def test_calls_with_conditions_are_allowed_alike(
    machine: str, arguments: list[int], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(CHECKED & set(MACHINES[machine].numbers))))
    assert (decide(machine, name, arguments) == "allow") == (ask(machine, name, *arguments) == ALLOW)


def test_what_nobody_has_heard_of_is_refused_and_what_has_a_fallback_does_not_exist() -> None:
    assert decide("x86_64", "not_a_call", [0] * 6) == 1
    assert decide("x86_64", "clone3", [0] * 6) == decide("x86_64", "openat2", [0] * 6) == 38


def test_only_machines_with_a_filter_get_a_profile() -> None:
    with pytest.raises(Misconfigured, match="no system call filter for vax"):
        profile("vax")


def test_no_call_is_named_under_two_actions() -> None:
    said = json.loads(profile("x86_64"))
    actions: dict[str, set[str]] = {}
    for rule in said["syscalls"]:
        for name in rule["names"]:
            actions.setdefault(name, set()).add(rule["action"])
    assert {name for name, ways in actions.items() if len(ways) > 1} == set()


def test_where_nobody_counts_memory_it_cannot_be_kept_unseen() -> None:
    for watched, memfd, segment in ((False, 0, 0), (True, 38, 1)):
        said = json.loads(profile("x86_64", watched=watched))
        found = {
            name: rule.get("errnoRet", 0)
            for rule in said["syscalls"]
            for name in rule["names"]
            if name in ("memfd_create", "shmget")
        }
        assert found.get("memfd_create") == memfd
        assert found.get("shmget", said["defaultErrnoRet"]) == segment


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_with_an_alarm_what_is_refused_in_any_case_rings_and_nothing_more_is_let_through(
    machine: str,
) -> None:
    silent, ringing = (json.loads(profile(machine, listener=path)) for path in ("", "/f/listener"))
    assert (silent.get("listenerPath"), ringing["listenerPath"]) == (None, "/f/listener")
    assert ringing["syscalls"][:-1] == silent["syscalls"]
    last = ringing["syscalls"][-1]
    assert last["action"] == "SCMP_ACT_NOTIFY"
    assert {"unshare", "mount", "ptrace", "keyctl", "bpf", "io_uring_setup"} <= set(last["names"])
    assert not set(last["names"]) & {name for rule in silent["syscalls"] for name in rule["names"]}


@pytest.mark.parametrize("machine", MACHINES)
def test_where_the_plugins_own_start_loads_the_filter_the_engines_refuses_nothing_but_foreign_entries(
    machine: str,
) -> None:
    said = json.loads(open_profile(machine))
    assert (said["defaultAction"], said["syscalls"]) == ("SCMP_ACT_ALLOW", [])
    assert said["architectures"] == json.loads(profile(machine))["architectures"]


@pytest.mark.parametrize("machine", sorted(MACHINES))
@given(arguments=ARGUMENTS, name=st.sampled_from(["socket", "socketpair", "connect"]))
def test_without_unix_sockets_it_decides_like_our_own(machine: str, arguments: list[int], name: str) -> None:
    known = MACHINES[machine]
    code = assemble(machine, unix_sockets=False)
    ours = run_filter(code, known.numbers[name], known.audit_arch, *arguments)
    assert (decide(machine, name, arguments, unix_sockets=False) == "allow") == (ours == ALLOW)
