"""Our filter against the field's own: the same list given to libseccomp, and every decision compared.

Two programs that were written apart agree on numbers, architectures and arguments; where ours were wrong in a number or
a jump, they would not.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.sandbox.calls.seccomp import ALLOWED, MACHINES, assemble

pytestmark = pytest.mark.real

_NAME = ctypes.util.find_library("seccomp")
if _NAME is None:
    pytest.skip("libseccomp is not on this machine", allow_module_level=True)
LIB: Final = ctypes.CDLL(_NAME)
LIB.seccomp_init.restype = ctypes.c_void_p
LIB.seccomp_init.argtypes = [ctypes.c_uint32]
LIB.seccomp_release.argtypes = [ctypes.c_void_p]
LIB.seccomp_arch_add.argtypes = LIB.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
LIB.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
LIB.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]

KILL: Final = 0x8000_0000
ALLOW: Final = 0x7FFF_0000
EPERM: Final = 0x0005_0001
BAD_ARCH: Final = 2  # SCMP_FLTATR_ACT_BADARCH
EQUAL: Final = 4
MASKED: Final = 7
UNKNOWN: Final = -1  # __NR_SCMP_ERROR: this libseccomp is older than the call


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


LIB.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison),
]  # fmt: skip

Rule = tuple[tuple[int, int, int, int], ...]


def is_one(argument: int, value: int) -> tuple[int, int, int, int]:
    return (argument, EQUAL, value, 0)


def has_none(argument: int, mask: int, value: int = 0) -> tuple[int, int, int, int]:
    return (argument, MASKED, mask, value)


def checked() -> Iterator[tuple[str, Rule]]:
    """The calls that are judged by their arguments, in the words of libseccomp: each line allows."""
    yield "socket", (is_one(0, 1),)
    for family in (2, 10):
        for kind, protocols in ((1, (0, 6)), (2, (0, 17))):
            for protocol in protocols:
                yield "socket", (is_one(0, family), has_none(1, 0xF, kind), is_one(2, protocol))
    yield "socket", (is_one(0, 16), is_one(2, 0))
    yield "socketpair", (is_one(0, 1),)
    yield "clone", (has_none(0, 0x7E02_0000),)
    for value in (0, 0xFFFF_FFFF):
        yield "personality", (is_one(0, value),)
    for name, mode in (("mknod", 1), ("mknodat", 2)):
        for kind in (0, 0o100000, 0o010000, 0o140000):
            yield name, (has_none(mode, 0o176000, kind),)
    for name, mode in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2), ("creat", 1)):
        yield name, (has_none(mode, 0o6000),)
    for name, flags in (("open", 1), ("openat", 2)):
        yield name, (has_none(flags, 0o20000100),)
        yield name, (has_none(flags + 1, 0o6000),)


@cache
def theirs(machine: str) -> bytes:
    """The program that libseccomp makes of the same list."""
    known = MACHINES[machine]
    context = LIB.seccomp_init(EPERM)
    try:
        LIB.seccomp_arch_remove(context, 0)  # ours: the running one
        assert LIB.seccomp_arch_add(context, known.audit_arch) == 0
        assert LIB.seccomp_attr_set(context, BAD_ARCH, KILL) == 0
        rules = [*((name, ()) for name in sorted(ALLOWED)), *checked()]
        for name, comparisons in rules:
            if name in known.numbers:
                array = (Comparison * len(comparisons))(*(Comparison(*one) for one in comparisons))
                # In the numbers of the machine that runs, whatever machine the filter is for.
                number = LIB.seccomp_syscall_resolve_name(name.encode())
                if number == UNKNOWN:
                    continue
                assert LIB.seccomp_rule_add_array(context, ALLOW, number, len(comparisons), array) == 0, name
        fd = os.memfd_create("filter")
        assert LIB.seccomp_export_bpf(context, fd) == 0
        return os.pread(fd, 1 << 20, 0)
    finally:
        LIB.seccomp_release(context)


def decide(code: bytes, number: int, arch: int, arguments: tuple[int, ...]) -> int:
    """Classic BPF as the kernel runs it."""
    data = struct.pack("=IIQ6Q", number & 0xFFFF_FFFF, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    at = held = 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        match operation:
            case 0x20:
                (held,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                held &= operand
            case 0x05:
                at += operand
            case 0x15:
                at += if_true if held == operand else if_false
            case 0x25:
                at += if_true if held > operand else if_false
            case 0x35:
                at += if_true if held >= operand else if_false
            case 0x45:
                at += if_true if held & operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"operation {operation:#x} is unknown here")


def kind(verdict: int) -> str:
    return {KILL: "kill", ALLOW: "allow"}.get(verdict, "refuse")


@cache
def incomparable(machine: str) -> frozenset[int]:
    """Numbers that libseccomp does not know, and those of which it cannot say "none of these" about half a word."""
    names = {
        name
        for name in MACHINES[machine].numbers
        if LIB.seccomp_syscall_resolve_name(name.encode()) == UNKNOWN
    }
    return frozenset(MACHINES[machine].numbers[name] for name in {*names, "fcntl", "ioctl"})


def agree(machine: str, number: int, arch: int, *arguments: int) -> None:
    if number in incomparable(machine):
        return
    ours = kind(decide(assemble_once(machine), number, arch, arguments))
    assert ours == kind(decide(theirs(machine), number, arch, arguments)), (number, arch, arguments)


@cache
def assemble_once(machine: str) -> bytes:
    return assemble(machine)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_number_has_the_name_that_libseccomp_knows(machine: str) -> None:
    known = MACHINES[machine]
    for name, number in known.numbers.items():
        resolved = LIB.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(known.audit_arch), name.encode())
        # A negative number: this libseccomp is older than the call, or the machine never had it.
        assert resolved in (number, -1) or resolved < -1, name


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_call_without_arguments_is_decided_alike(machine: str) -> None:
    for number in range(600):
        agree(machine, number, MACHINES[machine].audit_arch)
    assert len(incomparable(machine)) < 20


@pytest.mark.parametrize("machine", sorted(MACHINES))
@given(name=st.sampled_from(sorted({name for name, _ in checked()})), data=st.data())
@settings(max_examples=400, deadline=None)
def test_calls_that_are_judged_by_their_arguments_are_decided_alike(
    machine: str, name: str, data: st.DataObject
) -> None:
    if name not in MACHINES[machine].numbers:
        return
    word = st.one_of(
        st.integers(0, 50), st.integers(0, 0xFFFF_FFFF), st.sampled_from([1 << bit for bit in range(32)]),
        st.sampled_from([0o4755, 0o2755, 0o104755, 0o100644, 0o20000100, 0o100, 0x7E02_0000, 0x0001_0000]),
    )  # fmt: skip
    arguments = data.draw(st.lists(word, min_size=6, max_size=6))
    agree(machine, MACHINES[machine].numbers[name], MACHINES[machine].audit_arch, *arguments)


# -1 is what a debugger makes of a call that it swallows: libseccomp refuses it, and we kill, as for any foreign number.
@given(number=st.integers(0, 0xFFFF_FFFE), arch=st.sampled_from([0xC000_003E, 0xC000_00B7, 0x4000_0003, 0]))
@settings(max_examples=400, deadline=None)
def test_foreign_entries_are_decided_alike(number: int, arch: int) -> None:
    for machine in MACHINES:
        agree(machine, number, arch)
