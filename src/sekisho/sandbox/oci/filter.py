"""The system call filter in the words of container engines: the profile of the OCI runtime specification.

Guarantees that it decides like `seccomp.assemble` wherever such a profile can say it: the same calls are allowed, with
the same conditions on their arguments. Conditions compare 32 bits through a mask, because the kernel reads no more of
these arguments, and a comparison of all 64 would let the upper half decide.

Judgement only. Source: OCI runtime specification 1.0.2, config-linux, "Seccomp"; seccomp(2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sekisho.errors import Misconfigured
from sekisho.sandbox.calls.seccomp import ALLOWED, MACHINES, UNSEEN

__all__ = ["open_profile", "profile"]

EPERM: Final = 1
ENOSYS: Final = 38

_WORD: Final = 0xFFFF_FFFF
_NAMESPACES: Final = 0x7E02_0000
_SET_ID: Final = 0o6000
_MAKES_A_FILE: Final = 0o100 | 0o20000000
_KIND: Final = 0xF  # of a socket; the rest of the word is flags
_FORMAT: Final = 0o170000
_PLAIN: Final = (0, 0o100000, 0o010000, 0o140000)
_LEASE: Final = (1024,)
_TERMINAL: Final = (0x5412, 0x541C, 0x541D)

Condition = tuple[int, int, int]  # argument, mask, value: they match when argument & mask == value
_ARCHITECTURES: Final = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def profile(machine: str, *, watched: bool = False, unix_sockets: bool = True, listener: str = "") -> bytes:
    """The profile for one machine, as JSON.

    Args:
        machine: as `uname` calls it.
        watched: where no control group counts memory (see `seccomp`).
        unix_sockets: see `seccomp` as well.
        listener: the socket to which the runtime brings the listener; with it calls ring that are refused whatever
            their arguments are.
    """
    known = MACHINES.get(machine)
    if known is None:
        raise Misconfigured(
            "sandbox_unavailable",
            f"no system call filter for {machine}",
            remedy="run plugins on " + " or ".join(sorted(MACHINES)),
        )
    unseen = UNSEEN if watched else frozenset()
    conditions = _conditions() if unix_sockets else _conditions() | _without_unix()
    conditional = {name: ways for name, ways in conditions.items() if name in known.numbers}
    plain = sorted(name for name in ALLOWED - unseen if name in known.numbers and name not in conditional)
    rules: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    rules += [_rule(name, way) for name, ways in conditional.items() for way in ways]
    absent = ["clone3", "openat2", *(["memfd_create"] if watched else [])]
    rules.append(
        {
            "names": [name for name in absent if name in known.numbers],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": ENOSYS,
        }
    )
    if listener:
        told = {name for rule in rules for name in rule["names"]}
        rules.append({"names": sorted(known.numbers.keys() - told), "action": "SCMP_ACT_NOTIFY"})
    text: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,  # runtimes answer ENOSYS themselves for calls newer than their own list
        "architectures": [_ARCHITECTURES[machine]],
        "syscalls": rules,
    }
    if listener:
        text["listenerPath"] = listener
    return json.dumps(text, separators=(",", ":")).encode()


def open_profile(machine: str) -> bytes:
    """The profile for a container whose own first program loads the filter: only foreign entries are closed.

    Of two filters the kernel obeys the one that refuses, and a call that the engine's refuses never rings.
    """
    return json.dumps(
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [_ARCHITECTURES[machine]], "syscalls": []}
    ).encode()


def _rule(name: str, way: tuple[Condition, ...]) -> dict[str, Any]:
    args = [
        {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        for index, mask, value in way
    ]
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": args}


def _conditions() -> dict[str, tuple[tuple[Condition, ...], ...]]:
    """For each call, the ways in which it is allowed."""
    return {
        **dict.fromkeys(("chmod", "creat", "fchmod"), (((1, _SET_ID, 0),),)),
        **dict.fromkeys(("fchmodat", "fchmodat2"), (((2, _SET_ID, 0),),)),
        "clone": (((0, _NAMESPACES, 0),),),
        "fcntl": tuple(((1, mask, value),) for mask, value in _others(_LEASE)),
        "ioctl": tuple(((1, mask, value),) for mask, value in _others(_TERMINAL)),
        "mknod": tuple(((1, _SET_ID | _FORMAT, kind),) for kind in _PLAIN),
        "mknodat": tuple(((2, _SET_ID | _FORMAT, kind),) for kind in _PLAIN),
        "open": (((1, _MAKES_A_FILE, 0),), ((2, _SET_ID, 0),)),
        "openat": (((2, _MAKES_A_FILE, 0),), ((3, _SET_ID, 0),)),
        "personality": (((0, _WORD, 0),), ((0, _WORD, _WORD),)),
        "socketpair": (((0, _WORD, 1),),),
        "socket": (((0, _WORD, 1),), *_NETWORK),
    }


def _without_unix() -> dict[str, tuple[tuple[Condition, ...], ...]]:
    """Pairs of streams alone: a datagram socket sends to any path, though it is one of a pair."""
    pairs = tuple(((0, _WORD, 1), (1, _KIND, kind)) for kind in (1, 5))
    return {"socketpair": pairs, "socket": _NETWORK}


def _inet(*, stream: int, protocols: Iterable[int]) -> Iterator[tuple[Condition, ...]]:
    for protocol in protocols:
        for family in (2, 10):
            yield ((0, _WORD, family), (1, _KIND, stream), (2, _WORD, protocol))


_NETWORK: Final = (
    ((0, _WORD, 16), (2, _WORD, 0)),
    *_inet(stream=1, protocols=(0, 6)),
    *_inet(stream=2, protocols=(0, 17)),
)


def _others(values: Iterable[int]) -> list[tuple[int, int]]:
    """Masks and values that together match every 32-bit word but these."""
    found: list[tuple[int, int]] = []

    def split(prefix: int, bit: int, inside: list[int]) -> None:
        if bit < 0:
            return  # one of the values itself
        high = _WORD & ~((1 << bit) - 1)
        for half in (prefix, prefix | 1 << bit):
            within = [value for value in inside if value & high == half]
            if within:
                split(half, bit - 1, within)
            else:
                found.append((high, half))

    split(0, 31, [*values])
    return found
