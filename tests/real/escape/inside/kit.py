"""What every probe stands on: system calls by name, the decoys' whereabouts, and the list of probes.

A probe is a function that returns a few words when its attack worked; a refusal is an OSError, an empty answer or
a death. Runs inside walls on the standard library alone, so it knows nothing of sekisho.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["PROBES", "NotHere", "Probe", "There", "call", "libc", "machine_code", "patient", "probe", "reach"]

TOKEN: Final = re.compile(rb"DECOY-[0-9a-f]{32}")
REFUSALS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
)
CLONE3: Final = 435  # calls since 5.1 have one number on every machine

libc: Final = ctypes.CDLL(None, use_errno=True)


class NotHere(Exception):
    """What this probe needs does not exist on this machine or in this run: it proves nothing, either way."""


@dataclass(frozen=True)
class Probe:
    """One attack: its id, what it tries, and whether success is a fact to know and no way out."""

    id: str
    title: str
    attack: Callable[[There], str]
    is_informational: bool = False
    is_seen_outside: bool = False
    is_function: bool = False


@dataclass(frozen=True)
class There:
    """Where the harness put its decoys."""

    numbers: Mapping[str, int]
    digests: frozenset[str]
    at: Mapping[str, Any]

    def leaked(self, data: bytes) -> str:
        """Words when the data holds a secret of the harness; the harness itself never tells the secret."""
        for token in TOKEN.findall(data):
            if hashlib.sha256(token).hexdigest() in self.digests:
                return "read a decoy secret"
        return ""

    def read(self, path: str) -> str:
        """Words when this file can be read and holds a secret."""
        with open(path, "rb") as file:  # noqa: PTH123 - /proc magic links must be opened as they are
            return self.leaked(file.read(1 << 16))

    def write(self, path: str) -> str:
        """Leave a mark; whether the host's file changed is seen from outside."""
        with open(path, "ab") as file:  # noqa: PTH123
            file.write(b"\n# was here\n")
        return "wrote"


PROBES: Final[dict[str, Probe]] = {}
_there: dict[str, Mapping[str, int]] = {}
_patience: dict[str, float] = {}


def know(there: There) -> None:
    """Take the machine's numbers of system calls, and how slow it is."""
    _there["numbers"] = there.numbers
    _patience["times"] = there.at["patience"]


def patient(seconds: float) -> float:
    """How long to wait where a machine in order takes far less: an emulated one is ten to thirty times slower."""
    return seconds * _patience["times"]


def probe(
    id_: str, title: str, *, informational: bool = False, outside: bool = False, function: bool = False
) -> Callable[[Callable[[There], str]], Callable[[There], str]]:
    """Put an attack on the list."""

    def enter(attack: Callable[[There], str]) -> Callable[[There], str]:
        if id_ in PROBES:
            raise ValueError(f"{id_} stands twice")
        PROBES[id_] = Probe(
            id=id_,
            title=title,
            attack=attack,
            is_informational=informational,
            is_seen_outside=outside,
            is_function=function,
        )
        return attack

    return enter


def call(name: str | int, *arguments: int | bytes | ctypes.Array[Any] | None) -> int:
    """One system call; a refusal is an OSError."""
    number = name if isinstance(name, int) else _there["numbers"].get(name)
    if number is None:
        raise NotHere(f"no {name} on this machine")
    ctypes.set_errno(0)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def reach(name: str | int, *arguments: int | bytes | ctypes.Array[Any] | None) -> str:
    """Words when the kernel's own code looks at the (harmless, mostly senseless) arguments at all."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        return f"reached: {errno.errorcode.get(error.errno or 0, '?')}"
    return "reached: done"


def machine_code(code: bytes) -> int:
    """Run a few bytes of x86 that end in `ret`; returns eax."""
    if os.uname().machine != "x86_64":
        raise NotHere("not an x86_64 machine")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return int(function())
