"""The kernel's own interfaces, one call each: processes, limits, memory files, text files of /proc."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

__all__ = [
    "close_at_exec",
    "close_others",
    "die_with_parent",
    "entitle",
    "is_taken",
    "libc",
    "memory_file",
    "read_text",
    "receive",
    "resident",
    "resident_at_most",
    "set_limit",
    "threads",
    "tree",
    "write",
]

PR_SET_PDEATHSIG: Final = 1
MAX_MESSAGE_BYTES: Final = 64 << 10  # the launch itself travels in a memfd
MAX_FDS: Final = 5  # a memfd, three pipes and a channel
MAX_TREE: Final = 100_000
CLOSE_RANGE: Final = 436  # everywhere
CLOSE_RANGE_CLOEXEC: Final = 4
SIOCOUTQ: Final = 0x5411  # what the other side has not read yet, unix(7)

libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Ask the kernel for our death with our parent's; the second look closes the race before the request."""
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot bind to the life of the parent")
    if os.getppid() != parent:
        sys.exit(1)


def entitle(*words: str) -> None:
    """Write another command line over our own, as far as it has room: `ps` then tells forked processes apart."""
    fields = read_text("/proc/self/stat").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
    with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123 - pathlib is not imported here
        memory.seek(start)
        memory.write(text.ljust(end - start, b"\0"))


def receive(control: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message and its descriptors, closed on exec (socket.recv_fds forgets its flags)."""
    room = socket.CMSG_SPACE(MAX_FDS * struct.calcsize("i"))
    data, extras, _, _ = control.recvmsg(MAX_MESSAGE_BYTES, room, flags | socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist()


def is_taken(gate: socket.socket) -> bool:
    """Whether everything that we sent was read, or will never be."""
    (unread,) = struct.unpack("=i", fcntl.ioctl(gate, SIOCOUTQ, bytes(4)))
    return bool(unread == 0)


def memory_file(content: bytes) -> int:
    """A descriptor that reads `content` from its start."""
    fd = os.memfd_create("sekisho")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def close_others(keep: set[int]) -> None:
    """A descriptor that leaks is a door: close all but the standard three and these."""
    previous = 2
    for fd in sorted(keep):
        os.closerange(previous + 1, fd)
        previous = fd
    os.closerange(previous + 1, 1 << 20)


def close_at_exec() -> None:
    """The same for what is executed from here on, while we keep ours.

    Raises:
        OSError: the kernel cannot (before Linux 5.11).
    """
    if libc.syscall(CLOSE_RANGE, 3, 0xFFFF_FFFF, CLOSE_RANGE_CLOEXEC) != 0:
        raise OSError(ctypes.get_errno(), "descriptors cannot be closed at exec")


def set_limit(name: str, value: int, pid: int) -> None:
    """Lower one limit, never raise it: what the host already refuses stays refused."""
    which = getattr(resource, f"RLIMIT_{name}")
    _, hard = resource.prlimit(pid, which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(pid, which, (value, value))


def write(path: str, text: str) -> None:
    """One write to a kernel file; the error names the file."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)


def tree(root: int) -> Iterator[int]:
    """A process and all below it; orphans of the inner world hang below its first process, so none
    escapes.
    """
    waiting = [root]
    for _ in range(MAX_TREE):
        if not waiting:
            return
        pid = waiting.pop()
        yield pid
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib costs three times as much
                waiting += [int(word) for word in read_text(f"/proc/{pid}/task/{task}/children").split()]


def threads(pid: int) -> int:
    """How many threads a process has, which is what the kernel's own limits count; none when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - pathlib costs three times as much
    except OSError:
        return 0


def resident(pid: int) -> int:
    """Pss in bytes; a process that is gone uses nothing.

    A process may hide its maps (PR_SET_DUMPABLE), but not its size: that one counts whole, shared parts and all.
    """
    try:
        for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return resident_at_most(pid)
    except OSError:
        return 0
    return 0


def resident_at_most(pid: int) -> int:
    """Resident pages in bytes."""
    try:
        return int(read_text(f"/proc/{pid}/statm").split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def read_text(path: str) -> str:
    """A kernel file as text."""
    # UTF-8, because its codec is there from the start: others would be looked for behind walls that hide them.
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib is not imported here
        return file.read()
