"""A few instructions of x86-64 and the smallest program file around them: enough for a program that only asks the kernel.

Guarantees that each instruction is encoded as the manual says (a test compares them with an assembler's), that a jump to
an unknown label is an error, and that nothing of the program can be written while it runs but one page of its own.

Judgement only: values in, bytes out. Sources: Intel 64 and IA-32 manual, volume 2; elf(5); System V ABI for AMD64.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["CODE_AT", "ROOM_AT", "Assembler", "Register", "program_file"]

CODE_AT: Final = 0x40_0000  # where the file is mapped, to read and to run
ROOM_AT: Final = 0x60_0000  # one empty page, to read and to write
ROOM_BYTES: Final = 4096
_HEADER_BYTES: Final = 64 + 3 * 56
_JUMPS: Final = {
    "always": b"\xe9",
    "below zero": b"\x0f\x88",
    "zero or above": b"\x0f\x89",
    "not equal": b"\x0f\x85",
}
_ARGUMENTS: Final = (7, 6, 2, 10, 8, 9)  # rdi, rsi, rdx, r10, r8, r9: how the kernel takes them


class Register(int):
    """One of the registers that a system call leaves as it was, by its number: rbx 3, rbp 5, r12 to r15."""


class Assembler:
    """Data first, whose address is known at once; then instructions in order."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._code = bytearray()
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def data(self, content: bytes) -> int:
        """The address of some bytes that can only be read."""
        if self._code:
            raise ValueError("data stands before the first instruction, which tells its address")
        self._data += bytes(-len(self._data) % 8)
        address = CODE_AT + _HEADER_BYTES + len(self._data)
        self._data += content
        return address

    def label(self, name: str) -> None:
        """This place."""
        self._labels[name] = len(self._code)

    def take_stack(self, words: Register, environment: Register) -> None:
        """From the first stack: the second word of the command line on, and the environment (System V ABI, 3.4.1)."""
        self._code += b"\x48\x8d" + _stack_operand(words) + b"\x24\x10"  # lea words, [rsp+16]
        self._code += b"\x48\x8b\x04\x24"  # mov rax, [rsp]: how many words
        self._code += (
            b"\x48\x8d" + _stack_operand(environment) + b"\xc4\x10"
        )  # lea environment, [rsp+rax*8+16]

    def call(self, number: int, *arguments: int) -> None:
        """One system call; its answer is in rax. A Register among the arguments stands for what is in it."""
        for register, argument in zip(_ARGUMENTS, arguments, strict=False):
            if isinstance(argument, Register):
                self._copy(register, argument)
            else:
                self._set(register, argument)
        self._set(0, number)
        self._code += b"\x0f\x05"

    def keep(self, register: Register) -> None:
        """The answer, in a register that stays."""
        self._copy(register, 0)

    def keep_unless(self, register: Register, answer: int) -> None:
        """The answer, if it is another one than this."""
        self.compare(answer)
        self._code += bytes((0x40 | (register >> 3) << 2, 0x0F, 0x45, 0xC0 | (register & 7) << 3))  # cmovne

    def set(self, register: Register, value: int) -> None:
        """A number, in a register that stays."""
        self._set(register, value)

    def test(self) -> None:
        """See whether the answer is below zero: test rax, rax."""
        self._code += b"\x48\x85\xc0"

    def compare(self, answer: int) -> None:
        """Compare the answer: cmp eax, value."""
        self._code += b"\x3d" + struct.pack("<i", answer)

    def jump(self, name: str, when: str = "always") -> None:
        """Go on at a label."""
        self._code += _JUMPS[when]
        self._jumps.append((len(self._code), name))
        self._code += bytes(4)

    def store(self, address: int, value: int) -> None:
        """32 bits, or those of a Register, at an address: mov dword [address], value."""
        if isinstance(value, Register):
            self._code += bytes((0x40 | (value >> 3) << 2, 0x89, 0x04 | (value & 7) << 3, 0x25))
            self._code += struct.pack("<I", address)
        else:
            self._code += b"\xc7\x04\x25" + struct.pack("<II", address, value)

    def finish(self) -> tuple[bytes, bytes]:
        """The data, filled up to where the code begins, and the code.

        Raises:
            KeyError: a jump leads nowhere.
        """
        for at, name in self._jumps:
            self._code[at : at + 4] = struct.pack("<i", self._labels[name] - (at + 4))
        return bytes(self._data) + bytes(-len(self._data) % 16), bytes(self._code)

    def _set(self, register: int, value: int) -> None:
        prefix = b"\x41" if register >= 8 else b""
        self._code += prefix + bytes((0xB8 + (register & 7),)) + struct.pack("<I", value & 0xFFFF_FFFF)

    def _copy(self, to: int, register: int) -> None:
        prefix = 0x48 | (register >> 3) << 2 | to >> 3
        self._code += bytes((prefix, 0x89, 0xC0 | (register & 7) << 3 | to & 7))


def program_file(assembled: Assembler) -> bytes:
    """A static program that needs no loader, no library and no other file."""
    data, code = assembled.finish()
    size = _HEADER_BYTES + len(data) + len(code)
    start = CODE_AT + _HEADER_BYTES + len(data)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little endian, version 1
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, start, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    parts = (
        _part(1, 5, CODE_AT, size, size),  # PT_LOAD, to read and run
        _part(1, 6, ROOM_AT, 0, ROOM_BYTES),  # PT_LOAD, to read and write
        _part(0x6474_E551, 6, 0, 0, 0),  # PT_GNU_STACK: a stack that cannot be run
    )
    return header + b"".join(parts) + data + code


def _part(kind: int, rights: int, at: int, in_file: int, in_memory: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, rights, 0, at, at, in_file, in_memory, 4096)


def _stack_operand(register: Register) -> bytes:
    """ModRM for `register, [rsp + …]`: a byte of scale and index follows, and one of distance."""
    return bytes((0x44 | (register & 7) << 3,))
