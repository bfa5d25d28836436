"""Processes: a prisoner must see, touch and outlive nobody but its own."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import struct
from pathlib import Path
from typing import Final

from tests.real.escape.inside.kit import NotHere, There, call, libc, probe, reach

PTRACE_TRACEME: Final = 0
PTRACE_SEIZE: Final = 0x4206
TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
KEYCTL_READ: Final = 11
KEYCTL_SEARCH: Final = 10
USER_KEYRING: Final = -4
IPC_NOWAIT: Final = 0o4000
SHM_RDONLY: Final = 0o10000
NAMESPACES: Final = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


def _decoy(there: There) -> int:
    """The decoy's process, when its number means the decoy here too."""
    pid = int(there.at["decoy"])
    if there.at["decoy_mark"].encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
        raise ProcessLookupError(errno.ESRCH, "another process has this number here")
    return pid


@probe("P01", "see a process of the host")
def _(there: There) -> str:
    for entry in os.listdir("/proc"):  # noqa: PTH208
        try:
            if (
                entry.isdigit()
                and there.at["decoy_mark"].encode() in Path("/proc", entry, "cmdline").read_bytes()
            ):
                return f"process {entry}"
        except OSError:
            continue
    return ""


@probe("P02", "read its environment")
def _(there: There) -> str:
    return there.read(f"/proc/{_decoy(there)}/environ")


@probe("P03", "trace it (PTRACE_SEIZE)")
def _(there: There) -> str:
    call("ptrace", PTRACE_SEIZE, _decoy(there), 0, 0)
    return "traced"


@probe("P04", "read its memory (process_vm_readv)")
def _(there: There) -> str:
    room = ctypes.create_string_buffer(64)
    local = struct.pack("PN", ctypes.addressof(room), 38)
    remote = struct.pack("PN", there.at["decoy_address"], 38)
    call("process_vm_readv", int(there.at["decoy"]), local, 1, remote, 1, 0)
    return there.leaked(room.raw)


@probe("P05", "signal it")
def _(there: There) -> str:
    os.kill(int(there.at["decoy"]), 0)
    return "it can be signalled" if _decoy(there) else ""


@probe("P06", "take a descriptor of it (pidfd_getfd)")
def _(there: There) -> str:
    pidfd = call("pidfd_open", _decoy(there), 0)
    taken = call("pidfd_getfd", pidfd, int(there.at["decoy_fd"]), 0)
    return there.leaked(os.pread(taken, 4096, 0))


@probe("P07", "trace at all (PTRACE_TRACEME)")
def _(there: There) -> str:
    return reach("ptrace", PTRACE_TRACEME, 0, 0, 0)


@probe("P08", "enter its namespaces")
def _(there: There) -> str:
    for kind in NAMESPACES:
        try:
            fd = os.open(f"/proc/{int(there.at['decoy'])}/ns/{kind}", os.O_RDONLY)
            call("setns", fd, 0)
        except OSError:
            continue
        return kind
    return ""


@probe("P09", "type into the terminal of whoever started us (TIOCSTI, CVE-2017-5226)")
def _(there: There) -> str:
    fd = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(fd, TIOCSTI, b"\n")
    return "typed"


@probe("P10", "dump core")
def _(there: There) -> str:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    return f"hard limit {hard}" if hard != 0 else ""


@probe("P11", "attach the host's System V shared memory")
def _(there: There) -> str:
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(int(there.at["shm_id"]), None, SHM_RDONLY)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "refused")
    return there.leaked(ctypes.string_at(address, 64))


@probe("P12", "read a key of the user's key ring")
def _(there: There) -> str:
    key = call("keyctl", KEYCTL_SEARCH, USER_KEYRING, b"user", there.at["key"].encode(), 0)
    room = ctypes.create_string_buffer(64)
    call("keyctl", KEYCTL_READ, key, room, 64, 0)
    return there.leaked(room.raw)


@probe("P13", "learn the host's name")
def _(there: There) -> str:
    return there.leaked(os.uname().nodename.encode())


@probe("P14", "advise on its memory (process_madvise)")
def _(there: There) -> str:
    pidfd = call("pidfd_open", _decoy(there), 0)
    return reach("process_madvise", pidfd, struct.pack("PN", 0, 0), 1, 20, 0)


@probe("P15", "signal it by descriptor (pidfd_send_signal)")
def _(there: There) -> str:
    call("pidfd_send_signal", call("pidfd_open", _decoy(there), 0), 0, None, 0)
    return "it can be signalled"


@probe("P16", "change its limits (prlimit64)")
def _(there: There) -> str:
    call("prlimit64", _decoy(there), resource.RLIMIT_NOFILE, None, ctypes.create_string_buffer(16))
    return "read them"


@probe("P17", "move or slow it (sched_setaffinity, setpriority)")
def _(there: There) -> str:
    os.setpriority(os.PRIO_PROCESS, _decoy(there), os.getpriority(os.PRIO_PROCESS, _decoy(there)))
    return "set"


@probe("P18", "read the host's System V message queue")
def _(there: There) -> str:
    room = ctypes.create_string_buffer(72)
    call("msgrcv", int(there.at["msg_id"]), room, 64, 0, IPC_NOWAIT)
    return there.leaked(room.raw)


@probe("P19", "open the host's POSIX message queue")
def _(there: There) -> str:
    call("mq_open", there.at["mq"].encode(), os.O_RDONLY | os.O_NONBLOCK, 0, None)
    return "opened"


@probe("P20", "read where its locks lie (get_robust_list)")
def _(there: There) -> str:
    call("get_robust_list", _decoy(there), ctypes.create_string_buffer(8), ctypes.create_string_buffer(8))
    return "read"


@probe("P21", "write into the first process of the inner world (/proc/1/mem)")
def _(there: There) -> str:
    if _is_ours(1):
        raise NotHere("the first process is our own")
    os.close(os.open("/proc/1/mem", os.O_RDWR))
    return "opened"


@probe("P22", "read the environment of the first process")
def _(there: There) -> str:
    return there.read("/proc/1/environ") or there.read("/proc/1/cmdline")


@probe("P23", "drive the console (TIOCLINUX)")
def _(there: There) -> str:
    fd = os.open("/dev/tty", os.O_RDWR)
    try:
        fcntl.ioctl(fd, TIOCLINUX, b"\x06\0\0\0")  # ask for the shift state, which changes nothing
    except OSError as error:
        return "" if error.errno in (errno.EPERM, errno.EACCES) else "reached"
    return "reached"


@probe("P24", "run with real-time priority")
def _(there: There) -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "granted"


@probe("P25", "raise a hard limit")
def _(there: There) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    return "raised"


@probe("P26", "become root (setuid 0)")
def _(there: There) -> str:
    if os.getuid() == 0:
        raise NotHere("root already; see K24")
    os.setuid(0)
    return "became root"


@probe("P27", "learn a place among the host's control groups (/proc/self/cgroup)")
def _(there: There) -> str:
    if not there.at["has_cgroups"]:
        raise NotHere("everything stands at the top of this host's control groups")
    places = {line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    return ", ".join(sorted(places - {"/"}))


def _is_ours(pid: int) -> bool:
    """True for the process that runs the probes, and its shell; never for one that is hidden."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text()  # a command line may hold our name, and be bwrap's
    except OSError:
        return False
    return pid == os.getpid() or name.startswith(("python", "sh", "dash", "bash"))
