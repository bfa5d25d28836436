"""The first program of a container: loads the plugin's filter, hands its listener out, waits for the word, is the plugin.

Guarantees
- it needs nothing of the image: one static file, made for one plan, which asks the kernel and nobody else;
- the plugin runs behind the whole filter or not at all: a step that fails is told at the door, and ends it;
- without the word at the door nothing of the plugin runs, so whoever gives it has its network and its watcher ready;
- the plugin inherits neither the listener nor the door: both close when it is executed.

At the door it says `l` with the listener, or `n` where the kernel grants none (somebody above has one, and the silent
filter stands); it hears one byte; then the door closes, or four bytes say what was refused (-errno of the last call).

Judgement only: what is asked is written here, and `oci_gate` stands at the other side. x86-64 only; elsewhere the
engine loads the filter, as before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

from sekisho.launcher.alarm import NEW_LISTENER, SET_MODE_FILTER
from sekisho.sandbox.calls.syscalls import X86_64
from sekisho.sandbox.oci.machine_code import ROOM_AT, Assembler, Register, program_file

__all__ = ["MACHINES", "candidates", "start_program"]

MACHINES: Final = frozenset({"x86_64"})
FAILED: Final = 126  # how it ends when it does not become the plugin
_EBUSY: Final = -16
_ENOENT: Final = -2
_NO_NEW_PRIVS: Final = 38  # PR_SET_NO_NEW_PRIVS
_NOSIGNAL: Final = 0x4000
_SEQPACKET: Final = 5 | 0o2000000  # closed on exec
_CONTROL_BYTES: Final = 24  # a header of sixteen, one descriptor, and what rounds it up
_RBX, _RBP, _R12, _R13, _R15 = (Register(number) for number in (3, 5, 12, 13, 15))


def candidates(command: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where a command is looked for: as it is written, or by its name in the folders of PATH that stand still."""
    if "/" in command:
        return (command,)
    folders = (
        folder.rstrip("/") for folder in environment.get("PATH", "").split(":") if folder.startswith("/")
    )
    return tuple(f"{folder}/{command}" for folder in folders)


def start_program(door: str, programs: Iterable[str], silent: bytes, alarm: bytes) -> bytes:
    """The file.

    Args:
        door: the socket's path inside.
        programs: what is tried in turn; its words are those of our own command line, from the second on.
        silent: the filter, for where no listener is granted.
        alarm: the same filter, which rings.
    """
    build = Assembler()
    address = struct.pack("<H", 1) + door.encode() + b"\0"  # AF_UNIX
    address_at = build.data(address)
    alarm_at, silent_at = (_filter(build, code) for code in (alarm, silent))
    listens_at, none_at = build.data(b"l"), build.data(b"n")
    vector_at = build.data(struct.pack("<QQ", listens_at, 1))
    message_at = build.data(struct.pack("<QQQQQQQ", 0, 0, vector_at, 1, ROOM_AT, _CONTROL_BYTES, 0))
    paths_at = [build.data(path.encode() + b"\0") for path in programs]
    build.take_stack(_RBX, _RBP)
    _go_to_door(build, address_at, len(address))
    _load(build, alarm_at, silent_at)
    _tell_none(build, none_at)
    build.label("hand out")
    _hand_out(build, message_at)
    build.label("wait")
    _wait_and_run(build, paths_at)
    build.label("failed")
    build.keep(_R15)
    build.label("tell")
    build.store(ROOM_AT, _R15)
    build.call(X86_64["sendto"], _R12, ROOM_AT, 4, _NOSIGNAL, 0, 0)
    build.call(X86_64["exit_group"], FAILED)
    return program_file(build)


def _go_to_door(build: Assembler, address_at: int, size: int) -> None:
    """r12: the door."""
    build.call(X86_64["socket"], 1, _SEQPACKET, 0)
    _must_work(build)
    build.keep(_R12)
    build.call(X86_64["connect"], _R12, address_at, size)
    _must_work(build)


def _load(build: Assembler, alarm_at: int, silent_at: int) -> None:
    """r13: the listener, which is handed out; or none, and the silent filter stands."""
    build.call(X86_64["prctl"], _NO_NEW_PRIVS, 1, 0, 0, 0)
    _must_work(build)
    build.call(X86_64["seccomp"], SET_MODE_FILTER, NEW_LISTENER, alarm_at)
    build.keep(_R13)
    build.test()
    build.jump("hand out", "zero or above")
    build.compare(_EBUSY)
    build.jump("failed", "not equal")
    build.call(X86_64["seccomp"], SET_MODE_FILTER, 0, silent_at)
    _must_work(build)


def _tell_none(build: Assembler, none_at: int) -> None:
    build.call(X86_64["sendto"], _R12, none_at, 1, _NOSIGNAL, 0, 0)
    _must_work(build)
    build.jump("wait")


def _hand_out(build: Assembler, message_at: int) -> None:
    build.store(ROOM_AT, 20)  # struct cmsghdr: its length, whose upper half is zero
    build.store(ROOM_AT + 8, 1)  # SOL_SOCKET
    build.store(ROOM_AT + 12, 1)  # SCM_RIGHTS
    build.store(ROOM_AT + 16, _R13)
    build.call(X86_64["sendmsg"], _R12, message_at, _NOSIGNAL)
    _must_work(build)
    build.call(X86_64["close"], _R13)


def _wait_and_run(build: Assembler, paths_at: Iterable[int]) -> None:
    """r15: what was refused, where it was not only that nothing is there."""
    build.call(X86_64["read"], _R12, ROOM_AT, 1)
    build.compare(1)
    build.jump("failed", "not equal")
    build.set(_R15, _ENOENT)
    for path_at in paths_at:
        build.call(X86_64["execve"], path_at, _RBX, _RBP)
        build.keep_unless(_R15, _ENOENT)
    build.jump("tell")


def _must_work(build: Assembler) -> None:
    build.test()
    build.jump("failed", "below zero")


def _filter(build: Assembler, code: bytes) -> int:
    """`struct sock_fprog` around a filter."""
    return build.data(struct.pack("<HxxxxxxQ", len(code) // 8, build.data(code)))
