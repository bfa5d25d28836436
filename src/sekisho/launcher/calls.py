"""System calls that Python has no word for, each with its name and its errors: mounts, rulesets, filters, credentials.

Guarantees that a refused call raises OSError with the name of the call, and that a machine without a table gets no
guessed number. Decides nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

from sekisho.launcher.kernel import libc

__all__ = [
    "AT_EMPTY_PATH",
    "AT_RECURSIVE",
    "call",
    "capset_nothing",
    "clone",
    "drop_bounding_set",
    "no_new_privileges",
    "number_of",
    "prctl",
    "unshare",
]

AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
CAP_VERSION_3: Final = 0x2008_0522
MAX_CAPABILITIES: Final = 64  # the width of the kernel's own set
EPERM: Final = 1
EINVAL: Final = 22

# Those from 424 on are the same everywhere.
_COMMON: Final = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "openat2": 437,
    "mount_setattr": 442, "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
}  # fmt: skip
NUMBERS: Final = {
    "x86_64": {
        "clone": 56,
        "execve": 59,
        "keyctl": 250,
        "setns": 308,
        "umount2": 166,
        "capset": 126,
        "pivot_root": 155,
        "seccomp": 317,
        "execveat": 322,
        **_COMMON,
    },
    "aarch64": {
        "keyctl": 219,
        "setns": 268,
        "umount2": 39,
        "pivot_root": 41,
        "capset": 91,
        "clone": 220,
        "execve": 221,
        "seccomp": 277,
        "execveat": 281,
        **_COMMON,
    },
}
_OURS: Final = NUMBERS.get(platform.machine(), {})


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """One system call by its name.

    Raises:
        OSError: the kernel refused it, or we know no number for it on this machine.
    """
    number = _OURS.get(name)
    if number is None:
        raise OSError(38, f"{name}: no number is known for {platform.machine()}")
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *words))
    return _checked(result, name)


def number_of(name: str) -> int:
    """The number of a call on this machine; -1, which no call has, where none is known."""
    return _OURS.get(name, -1)


def prctl(name: str, option: int, *words: int) -> int:
    """One prctl(2), called `name` in its error."""
    padded = [ctypes.c_ulong(word) for word in (*words, 0, 0, 0, 0)[:4]]
    return _checked(int(libc.prctl(option, *padded)), name)


def unshare(flags: int, what: str) -> None:
    """New namespaces for this process, or its next child."""
    _checked(int(libc.unshare(flags)), what)


def clone(flags: int) -> int:
    """Fork with flags that os.fork has not; 0 in the child. For a process with one thread."""
    return call("clone", flags, 0, 0, 0, 0)


def no_new_privileges() -> None:
    """No program that is executed from here on gains anything by its owner or its file capabilities."""
    prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_set() -> None:
    """What no program can ever have again, whoever owns it."""
    for capability in range(MAX_CAPABILITIES):
        try:
            prctl("capabilities", PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == EINVAL:
                break  # beyond the last one this kernel knows
            if error.errno == EPERM:
                break  # not ours to drop: who has no capability gains none at exec either, with no_new_privs
            raise
    prctl("capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def capset_nothing() -> None:
    """No capability: neither effective, nor permitted, nor inherited."""
    header = CAP_VERSION_3.to_bytes(4, "little") + bytes(4)
    call("capset", header, bytes(24))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
