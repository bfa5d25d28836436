"""The filter decides as written: a small machine runs the assembled program and every decision is looked at."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.launcher.watch import Call
from sekisho.sandbox.calls.seccomp import ALLOWED, MACHINES, assemble, refusals
from sekisho.sandbox.calls.watched import TOLD, Told, watched_calls

KILL = 0x8000_0000
ALLOW = 0x7FFF_0000
NOTIFY = 0x7FC0_0000
EPERM = 0x0005_0001
ENOSYS = 0x0005_0026
EAFNOSUPPORT = 0x0005_0061

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
NONBLOCK_CLOEXEC = 0o2004000


def decide(code: bytes, number: int, arch: int, *arguments: int) -> int:
    """Run classic BPF the way the kernel does."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number & 0xFFFF_FFFF, arch, 0, *padded)
    program = [struct.unpack_from("=HBBI", code, offset) for offset in range(0, len(code), 8)]
    at = accumulator = 0
    while True:
        operation, if_true, if_false, operand = program[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x05:
                at += operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x45:
                at += if_true if accumulator & operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"operation {operation:#x} is not in our set")


def ask(machine: str, name: str, *arguments: int) -> int:
    known = MACHINES[machine]
    return decide(assemble(machine), known.numbers[name], known.audit_arch, *arguments)


CHECKED = {
    "chmod", "clone", "clone3", "creat", "fchmod", "fchmodat", "fchmodat2", "fcntl", "ioctl", "mknod", "mknodat",
    "open", "openat", "openat2", "personality", "socket", "socketpair",
}  # fmt: skip

FORBIDDEN = """
    unshare setns mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick
    mount_setattr ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise keyctl
    add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    name_to_handle_at open_by_handle_at memfd_secret mbind move_pages migrate_pages set_mempolicy
    init_module finit_module delete_module kexec_load reboot swapon syslog acct quotactl settimeofday
    clock_settime sethostname vhangup vmsplice lookup_dcookie fanotify_init seccomp
    remap_file_pages io_setup io_submit io_destroy io_getevents io_pgetevents io_cancel
""".split()  # noqa: SIM905


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_memory_that_no_watcher_sees_is_refused_where_there_is_only_a_watcher(machine: str) -> None:
    known = MACHINES[machine]
    watched = assemble(machine, watched=True)
    differing = {
        name: decide(watched, number, known.audit_arch)
        for name, number in known.numbers.items()
        if decide(watched, number, known.audit_arch) != decide(assemble(machine), number, known.audit_arch)
    }
    assert differing == {"memfd_create": ENOSYS, "shmget": EPERM}


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_known_call_is_decided_by_the_list(machine: str) -> None:
    known = MACHINES[machine]
    code = assemble(machine)
    for name, number in known.numbers.items():
        if name not in CHECKED:
            expected = ALLOW if name in ALLOWED else EPERM
            assert decide(code, number, known.audit_arch) == expected, name


@pytest.mark.parametrize("machine", sorted(MACHINES))
@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.threat("T-READ-HOST")
def test_calls_that_open_the_kernel_are_refused(machine: str, name: str) -> None:
    if name in MACHINES[machine].numbers:
        assert ask(machine, name) == EPERM


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_allowed_name_exists_on_some_machine(machine: str) -> None:
    everywhere = {name for known in MACHINES.values() for name in known.numbers}
    assert everywhere >= ALLOWED
    assert not ALLOWED & CHECKED


@given(number=st.integers(min_value=470, max_value=0x3FFF_FFFF))
def test_a_call_we_never_heard_of_does_not_exist(number: int) -> None:
    assert decide(assemble("x86_64"), number, 0xC000_003E) == ENOSYS


@given(number=st.integers(min_value=0x4000_0000, max_value=0xFFFF_FFFF))
def test_the_x32_table_kills(number: int) -> None:
    assert decide(assemble("x86_64"), number, 0xC000_003E) == KILL


@given(
    number=st.integers(min_value=0, max_value=0xFFFF_FFFF),
    arch=st.sampled_from([0x4000_0003, 0xC000_00B7, 0]),
)
def test_a_foreign_entry_kills(number: int, arch: int) -> None:
    assert decide(assemble("x86_64"), number, arch) == KILL


@given(flags=st.integers(min_value=0, max_value=0xFFFF_FFFF))
def test_clone_passes_exactly_when_it_asks_for_no_namespace(flags: int) -> None:
    expected = EPERM if flags & 0x7E02_0000 else ALLOW
    assert ask("x86_64", "clone", flags) == expected


def test_clone3_is_absent_so_that_libraries_fall_back() -> None:
    assert ask("x86_64", "clone3") == ENOSYS


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (AF_UNIX, STREAM, 0, ALLOW),
        (AF_UNIX, SEQPACKET, 0, ALLOW),
        (AF_INET, STREAM, 0, ALLOW),
        (AF_INET, STREAM | NONBLOCK_CLOEXEC, 6, ALLOW),
        (AF_INET6, DGRAM | NONBLOCK_CLOEXEC, 17, ALLOW),
        (AF_INET, DGRAM, 0, ALLOW),
        (AF_NETLINK, RAW, 0, ALLOW),
        (AF_INET, DGRAM, 1, EAFNOSUPPORT),  # ICMP
        (AF_INET, STREAM, 132, EAFNOSUPPORT),  # SCTP
        (AF_INET, STREAM, 262, EAFNOSUPPORT),  # MPTCP
        (AF_INET, RAW, 6, EAFNOSUPPORT),
        (AF_INET6, SEQPACKET, 0, EAFNOSUPPORT),
        (AF_NETLINK, RAW, 12, EAFNOSUPPORT),  # netfilter
        (AF_PACKET, RAW, 0, EAFNOSUPPORT),
        (AF_ALG, SEQPACKET, 0, EAFNOSUPPORT),
        (AF_VSOCK, STREAM, 0, EAFNOSUPPORT),
    ],
)
@pytest.mark.threat("T-EGRESS")
def test_sockets_are_unix_tcp_udp_and_route(family: int, kind: int, protocol: int, expected: int) -> None:
    for machine in MACHINES:
        assert ask(machine, "socket", family, kind, protocol) == expected


@given(st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF))
def test_no_other_family_makes_a_socket(family: int, kind: int, protocol: int) -> None:
    answer = ask("x86_64", "socket", family, kind, protocol)
    if family not in {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}:
        assert answer == EAFNOSUPPORT
    assert answer in {ALLOW, EAFNOSUPPORT}


@pytest.mark.parametrize("machine", sorted(MACHINES))
@given(
    name=st.sampled_from(["socket", "socketpair"]),
    words=st.lists(st.integers(0, 2**32), min_size=3, max_size=3),
)
@example("socketpair", [AF_UNIX, STREAM, 0])
@example("socketpair", [AF_UNIX, DGRAM | NONBLOCK_CLOEXEC, 0])
@example("socketpair", [AF_UNIX, SEQPACKET | NONBLOCK_CLOEXEC, 0])
@example("socket", [AF_UNIX, STREAM, 0])
@example("socket", [AF_INET, STREAM, 0])
@example("socket", [AF_INET6, DGRAM, 17])
@example("socket", [AF_NETLINK, RAW, 0])
@pytest.mark.threat("T-READ-HOST")
def test_without_unix_sockets_nothing_is_left_of_them_but_pairs_that_lead_nowhere_else(
    machine: str, name: str, words: list[int]
) -> None:
    known = MACHINES[machine]
    without = decide(assemble(machine, unix_sockets=False), known.numbers[name], known.audit_arch, *words)
    family, kind = words[0] & 0xFFFF_FFFF, words[1] & 0xF
    if family == AF_UNIX and (name == "socket" or kind not in (STREAM, SEQPACKET)):
        assert without == EAFNOSUPPORT
    else:
        assert without == ask(machine, name, *words)


@pytest.mark.parametrize("machine", sorted(MACHINES))
@pytest.mark.parametrize("shared", [False, True])
def test_every_other_call_is_decided_as_with_them(machine: str, shared: bool) -> None:
    known = MACHINES[machine]
    drawn = [assemble(machine, shared=shared, unix_sockets=unix) for unix in (True, False)]
    differing = {
        name
        for name, number in known.numbers.items()
        if len({decide(code, number, known.audit_arch, AF_UNIX, DGRAM) for code in drawn}) > 1
    }
    assert differing == (set() if shared else {"socket", "socketpair"})


def test_only_unix_sockets_come_in_pairs() -> None:
    assert ask("x86_64", "socketpair", AF_UNIX, STREAM) == ALLOW
    assert ask("x86_64", "socketpair", 30, STREAM) == EAFNOSUPPORT  # TIPC


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x541D])
def test_words_cannot_be_put_into_a_terminal(request_number: int) -> None:
    assert ask("x86_64", "ioctl", 0, request_number) == EPERM
    # The kernel looks at the low word only, so the filter must as well.
    assert ask("x86_64", "ioctl", 0, request_number | 1 << 32) == EPERM


def test_other_terminal_questions_are_allowed() -> None:
    assert ask("x86_64", "ioctl", 0, 0x5413) == ALLOW


@pytest.mark.threat("T-FLOOD")
def test_no_lease_is_taken_on_a_file_and_every_other_use_of_a_descriptor_passes() -> None:
    for machine in MACHINES:
        assert ask(machine, "fcntl", 3, 1024) == EPERM  # F_SETLEASE
        assert ask(machine, "fcntl", 3, 1024 | 1 << 32) == EPERM
        for command in (
            0,
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            1025,
            1030,
            1031,
            1032,
            1033,
        ):  # among them locks and F_GETLEASE
            assert ask(machine, "fcntl", 3, command) == ALLOW


def test_the_personality_can_be_asked_and_not_changed() -> None:
    assert ask("x86_64", "personality", 0xFFFF_FFFF) == ALLOW
    assert ask("x86_64", "personality", 0) == ALLOW
    assert ask("x86_64", "personality", 0x0040000) == EPERM  # ADDR_NO_RANDOMIZE


@pytest.mark.parametrize(("mode", "expected"), [(0o010644, ALLOW), (0o100600, ALLOW), (0o140777, ALLOW)])
def test_pipes_files_and_sockets_can_be_made(mode: int, expected: int) -> None:
    assert ask("x86_64", "mknod", 0, mode) == expected
    assert ask("aarch64", "mknodat", 0, 0, mode) == expected


@pytest.mark.parametrize("mode", [0o020600, 0o060600])
def test_devices_cannot_be_made(mode: int) -> None:
    assert ask("x86_64", "mknod", 0, mode) == EPERM
    assert ask("aarch64", "mknodat", 0, 0, mode) == EPERM


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_no_jump_leaves_the_program(machine: str) -> None:
    code = assemble(machine)
    length = len(code) // 8
    for index in range(length):
        operation, if_true, if_false, operand = struct.unpack_from("=HBBI", code, index * 8)
        if operation in {0x15, 0x35, 0x45}:
            assert index + 1 + max(if_true, if_false) < length
        elif operation == 0x05:
            assert index + 1 + operand < length


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(Misconfigured, match="riscv64"):
        assemble("riscv64")


MODE_AT = {"chmod": 1, "creat": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
OPEN_AT = {"open": 1, "openat": 2}
O_CREAT, O_TMPFILE, O_RDWR = 0o100, 0o20200000, 2


@pytest.mark.parametrize("machine", sorted(MACHINES))
@given(mode=st.integers(0, 0o7777))
def test_no_call_makes_a_file_set_uid_or_set_gid(machine: str, mode: int) -> None:
    expected = EPERM if mode & 0o6000 else ALLOW
    numbers = MACHINES[machine].numbers
    for name, at in MODE_AT.items():
        if name in numbers:
            assert ask(machine, name, *[7] * at, mode) == expected, name
    for name, at in OPEN_AT.items():
        if name in numbers:
            for flags in (O_CREAT | O_RDWR, O_TMPFILE | O_RDWR):
                assert ask(machine, name, *[7] * at, flags, mode) == expected, name
            assert ask(machine, name, *[7] * at, O_RDWR, mode) == ALLOW, (
                "no file is made, so there is no mode"
            )
    for name, at in {"mknod": 1, "mknodat": 2}.items():
        if name in numbers:
            assert ask(machine, name, *[7] * at, 0o100000 | mode) == expected, name


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_call_whose_mode_a_filter_cannot_read_does_not_exist(machine: str) -> None:
    assert ask(machine, "openat2", 0, 0, 0, 24) == ENOSYS


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_only_an_alarm_before_bwrap_hears_of_it_and_is_told_to_answer_that_it_does_not_exist(
    machine: str,
) -> None:
    known = MACHINES[machine]
    openat2 = known.numbers["openat2"]
    answers = {
        (alarm, before_bwrap): decide(
            assemble(machine, alarm=alarm, before_bwrap=before_bwrap), openat2, known.audit_arch
        )
        for alarm in (False, True)
        for before_bwrap in (False, True)
    }
    assert answers.pop((True, True)) == NOTIFY
    assert set(answers.values()) == {ENOSYS}
    assert refusals(machine)[openat2] == ENOSYS & 0xFFFF


@pytest.mark.parametrize("machine", MACHINES)
def test_a_file_that_is_not_open_cannot_be_cut_where_an_older_landlock_would_not_say_no(machine: str) -> None:
    known, shared = MACHINES[machine], assemble(machine, shared=True)
    assert decide(shared, known.numbers["truncate"], known.audit_arch) == EPERM
    assert decide(shared, known.numbers["ftruncate"], known.audit_arch) == ALLOW
    assert ask(machine, "truncate") == ALLOW


arguments = st.lists(
    st.one_of(
        st.sampled_from([0, 1, 0o100, 0o1000, 0o4755, 0o644, 0o10000000, 0o20200001]),
        st.integers(0, 2**64 - 1),
    ),
    min_size=6,
    max_size=6,
)
FILTERS = {
    (machine, shared, told): assemble(machine, shared=shared, alarm=True, told=told)
    for machine in MACHINES
    for shared in (False, True)
    for told in TOLD
}


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_no_call_that_a_silent_filter_always_refuses_is_let_through_by_who_listens(
    machine: str, shared: bool
) -> None:
    known = MACHINES[machine]
    silent = assemble(machine, shared=shared)
    answers = {
        number: decide(silent, number, known.audit_arch, *[0] * 6)
        for number in watched_calls(known.numbers, "asked", shared=shared)
    }
    assert {number for number, answer in answers.items() if answer == EPERM} == set()


@given(st.sampled_from(sorted(MACHINES)), st.booleans(), st.sampled_from(TOLD), st.data(), arguments)
@pytest.mark.threat("T-READ-HOST")
def test_what_rings_is_refused_by_who_listens_exactly_where_a_silent_filter_refuses_it(
    machine: str, shared: bool, told: Told, data: st.DataObject, words: list[int]
) -> None:
    known = MACHINES[machine]
    watched = watched_calls(known.numbers, told, shared=shared)
    number = data.draw(st.one_of(st.sampled_from(sorted(watched) or [0]), st.integers(0, 460)))
    silent = decide(assemble(machine, shared=shared), number, known.audit_arch, *words)
    loud = decide(FILTERS[machine, shared, told], number, known.audit_arch, *words)
    if loud != NOTIFY:
        assert loud == silent, "what does not ring is as it was"
        return
    one = watched.get(number)
    refuses = one is None or Call(list(one.paths), one.flags, one.mode).is_refused(words)
    assert refuses == (silent in {EPERM, EAFNOSUPPORT})


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_what_is_told_decides_which_opens_ring(machine: str) -> None:
    known = MACHINES[machine]
    reading, writing, naming, tmpfile = 0o2000000, 1, 0o10000000, 0o20200002
    rings = {
        told: [
            decide(FILTERS[machine, False, told], known.numbers["openat"], known.audit_arch, 0, 0, flags)
            == NOTIFY
            for flags in (reading, writing, naming, tmpfile)
        ]
        for told in TOLD
    }
    assert rings == {
        "asked": [True, True, False, True],
        "all": [True, True, False, True],
        "changes": [False, True, False, True],
        "none": [False, False, False, False],
    }


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_program_is_watched_when_it_is_run_and_never_when_it_asks(machine: str) -> None:
    known = MACHINES[machine]
    code = FILTERS[machine, False, "all"]
    assert decide(code, known.numbers["execve"], known.audit_arch) == NOTIFY
    for name in ("newfstatat", "statx", "faccessat", "readlinkat", "read", "close", "mmap"):
        assert decide(code, known.numbers[name], known.audit_arch) == ALLOW, name
