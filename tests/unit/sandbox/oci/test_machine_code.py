"""Instructions are encoded as an assembler encodes them, and a program file has the rights that it states."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.sandbox.oci.machine_code import CODE_AT, ROOM_AT, Assembler, Register, program_file

RBX, RBP, R12, R13, R15 = (Register(number) for number in (3, 5, 12, 13, 15))


def encoded(build: Assembler) -> str:
    return build.finish()[1].hex()


# The right side is what GNU as 2.40 makes of the instructions in the comment.
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (lambda one: one.take_stack(RBX, RBP), "488d5c2410488b0424488d6cc410"),  # lea, mov, lea
        (lambda one: one.call(1), "b8010000000f05"),  # mov $1,%eax; syscall
        (lambda one: one.call(44, R12, 7), "4c89e7be07000000b82c0000000f05"),  # mov %r12,%rdi; mov $7,%esi
        (lambda one: one.call(0, 1, 2, 3, 4, 5, 6),
         "bf01000000be02000000ba0300000041ba0400000041b80500000041b906000000b8000000000f05"),
        (lambda one: one.keep(R13), "4989c5"),  # mov %rax,%r13
        (lambda one: one.keep_unless(R15, -2), "3dfeffffff440f45f8"),  # cmp $-2,%eax; cmovne %eax,%r15d
        (lambda one: one.set(R15, -2), "41bffeffffff"),  # mov $-2,%r15d
        (lambda one: one.test(), "4885c0"),  # test %rax,%rax
        (lambda one: one.store(ROOM_AT, 20), "c704250000600014000000"),  # movl $20,0x600000
        (lambda one: one.store(ROOM_AT + 16, R13), "44892c2510006000"),  # mov %r13d,0x600010
    ],
)  # fmt: skip
def test_each_instruction_is_the_one_that_is_meant(steps: object, expected: str) -> None:
    build = Assembler()
    steps(build)  # type: ignore[operator]  # a table of small functions
    assert encoded(build) == expected


@pytest.mark.parametrize(
    ("when", "code"),
    [("always", "e9"), ("below zero", "0f88"), ("zero or above", "0f89"), ("not equal", "0f85")],
)
def test_a_jump_leads_to_its_label_forwards_and_backwards(when: str, code: str) -> None:
    build = Assembler()
    build.label("before")
    build.jump("after", when)
    build.jump("before", when)
    build.label("after")
    size = len(code) // 2 + 4
    assert (
        encoded(build) == f"{code}{struct.pack('<i', size).hex()}{code}{struct.pack('<i', -2 * size).hex()}"
    )


def test_a_jump_into_nothing_is_an_error() -> None:
    build = Assembler()
    build.jump("nowhere")
    with pytest.raises(KeyError):
        build.finish()


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_data_is_found_where_its_address_says(pieces: list[bytes]) -> None:
    build = Assembler()
    at = [build.data(piece) for piece in pieces]
    build.call(60, 0)
    content = program_file(build)
    assert [
        content[one - CODE_AT : one - CODE_AT + len(piece)] for one, piece in zip(at, pieces, strict=True)
    ] == pieces
    (start,) = struct.unpack_from("<Q", content, 24)
    assert content[start - CODE_AT :].startswith(bytes.fromhex("bf00000000b83c000000"))


def test_nothing_may_be_written_and_run_at_once() -> None:
    build = Assembler()
    build.call(60, 0)
    content = program_file(build)
    rights = [struct.unpack_from("<II", content, 64 + 56 * index)[1] for index in range(3)]
    assert rights == [5, 6, 6]  # the program, its room, the stack
    with pytest.raises(ValueError, match="before the first instruction"):
        build.data(b"too late")
