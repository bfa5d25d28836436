"""Landlock: what a process and all its children may still do with files, ports and strangers, as a ruleset.

Guarantees that a right the kernel knows is denied unless a rule gives it, that nothing is asked of a kernel which it
does not know, and that `restrict` raises when the ruleset does not hold. Cannot be undone by whoever is inside.

Landlock says nothing about `stat`, `chmod`, `chown`, extended attributes, times, `chdir` and links that are read:
where no other wall stands, the system call filter has to.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final, Literal

from sekisho.launcher.calls import call, no_new_privileges
from sekisho.launcher.mounts import open_plain

__all__ = ["Right", "Rule", "abi", "probe_ruleset", "restrict"]

Right = Literal["read", "write", "use"]
Rule = tuple[str, Right]

NEWEST_ABI: Final = 7
VERSION_FLAG: Final = 1
PATH_BENEATH: Final = 1
TIME_ZONE: Final = "/etc/localtime"  # a link of the system's own, to one of its files

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
MAKE_CHAR: Final = 1 << 6
MAKE_BLOCK: Final = 1 << 11
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
_FS_BITS: Final = (0, 13, 14, 15, 15, 16, 16, 16)  # how many file rights each ABI knows
_ON_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_READ: Final = EXECUTE | READ_FILE | READ_DIR
_TCP: Final = 0b11  # bind and connect
_SCOPES: Final = 0b11  # abstract Unix sockets and signals
NET_ABI: Final = 4
SCOPE_ABI: Final = 6


def abi() -> int:
    """The version of Landlock that the kernel speaks, of those we know; 0 is none."""
    try:
        return min(call("landlock_create_ruleset", None, 0, VERSION_FLAG), NEWEST_ABI)
    except OSError:
        return 0


def restrict(rules: Iterable[Rule], version: int, *, tcp: bool) -> None:
    """Bind this process, and whatever it starts, to these rules. Needs no_new_privs or a capability.

    Args:
        rules: paths that exist, each with what may be done with it and all below.
        version: of `abi()`, at least 1.
        tcp: whether TCP stays as it is.
    """
    known = (1 << _FS_BITS[version]) - 1
    attributes = struct.pack("=Q", known)
    if version >= NET_ABI:
        attributes += struct.pack("=Q", 0 if tcp else _TCP)
    if version >= SCOPE_ABI:
        attributes += struct.pack("=Q", _SCOPES)
    ruleset = call("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for path, right in rules:
            _add(ruleset, path, right, known)
        call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def probe_ruleset() -> None:
    """Try a ruleset on this process, for `sekisho doctor`; says nothing when it holds."""
    try:
        no_new_privileges()
        restrict([("/usr", "read")], abi(), tcp=False)
        os.listdir("/usr")  # noqa: PTH208 - pathlib is not imported here
        os.listdir("/")  # noqa: PTH208
    except PermissionError:
        return
    except OSError as error:
        os.write(1, str(error).encode())
        return
    os.write(1, b"it does not hold")


def _add(ruleset: int, path: str, right: Right, known: int) -> None:
    # What became a link since the rules were drawn would allow a place that nobody listed.
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC) if path == TIME_ZONE else open_plain(path)
    try:
        allowed = _allowed(right) & known
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            allowed &= _ON_FILES
        # struct landlock_path_beneath_attr is packed: eight bytes, then four.
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, fd), 12)
        call("landlock_add_rule", ruleset, PATH_BENEATH, rule, 0)
    except OSError as error:
        raise OSError(error.errno, f"landlock {path}: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(fd)


def _allowed(right: Right) -> int:
    match right:
        case "read":
            return _READ
        case "use":
            return READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV
        case "write":
            return (1 << _FS_BITS[NEWEST_ABI]) - 1 & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)
