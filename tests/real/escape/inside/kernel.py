"""The kernel's own code: each call that a plugin never needs is a way in, so none may answer.

"Reached" means that the kernel looked at arguments that make no sense; nothing here harms a machine that lets it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import Final

from tests.real.escape.inside.kit import CLONE3, NotHere, There, call, libc, machine_code, probe, reach

AT_FDCWD: Final = -100
CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWCGROUP: Final = 0x0200_0000
CLONE_NEWUTS: Final = 0x0400_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000
CLONE_NEWTIME: Final = 0x0000_0080
SIGCHLD: Final = 17
NO_RANDOMIZE: Final = 0x0004_0000
PR_GET_SECCOMP: Final = 21
PR_CAPBSET_READ: Final = 23
PR_GET_NO_NEW_PRIVS: Final = 39
PR_SET_MM: Final = 35
PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET = 47, 1
CAPABILITY_VERSION_3: Final = 0x2008_0522
CAPABILITIES: Final = range(41)
UFFD_USER_MODE_ONLY: Final = 1
PERF_SIZE: Final = 128
X32_GETPID: Final = 0x4000_0000 + 39
GETPID_BY_INT80: Final = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20; int 0x80; ret
CACHESTAT, STATMOUNT, LISTMOUNT = 451, 457, 458


@probe("K01", "mount a file system")
def _(there: There) -> str:
    call("mount", b"none", there.at["writable"].encode(), b"tmpfs", 0, None)
    call("umount2", there.at["writable"].encode(), 0)
    return "mounted"


@probe("K02", "make a user namespace")
def _(_: There) -> str:
    call("unshare", CLONE_NEWUSER)
    return "made"


@probe("K03", "become root of a new user, mount and network namespace")
def _(_: There) -> str:
    call("unshare", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
    return "became"


@probe("K04", "make a user namespace with clone3")
def _(_: There) -> str:
    arguments = struct.pack("11Q", CLONE_NEWUSER, 0, 0, 0, SIGCHLD, *[0] * 6)
    pid = call(CLONE3, arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "made"


@probe("K05", "io_uring")
def _(_: There) -> str:
    return reach("io_uring_setup", 1, ctypes.create_string_buffer(120))


@probe("K06", "bpf")
def _(_: There) -> str:
    return reach("bpf", 0, ctypes.create_string_buffer(72), 72)


@probe("K07", "userfaultfd")
def _(_: There) -> str:
    return reach("userfaultfd", 0)


@probe("K08", "userfaultfd for user mode")
def _(_: There) -> str:
    return reach("userfaultfd", UFFD_USER_MODE_ONLY)


@probe("K09", "perf events")
def _(_: There) -> str:
    attributes = (
        struct.pack("IIQ", 1, PERF_SIZE, 0) + bytes(24) + struct.pack("Q", 0x60) + bytes(PERF_SIZE - 48)
    )
    return reach("perf_event_open", attributes, 0, -1, -1, 0)


@probe("K10", "the kernel's key rings")
def _(_: There) -> str:
    return reach("add_key", b"user", b"probe", b"x", 1, -2)


@probe("K11", "load a module")
def _(_: There) -> str:
    return reach("init_module", b"", 0, b"")


@probe("K12", "turn address randomisation off")
def _(_: There) -> str:
    call("personality", NO_RANDOMIZE)
    return "off"


@probe("K13", "read the kernel's log")
def _(_: There) -> str:
    return reach("syslog", 10, None, 0)


@probe("K14", "compare kernel pointers (kcmp)")
def _(_: There) -> str:
    return reach("kcmp", os.getpid(), os.getpid(), 0, 0, 0)


@probe("K15", "chroot")
def _(_: There) -> str:
    return reach("chroot", b"/tmp")


@probe("K16", "pivot_root")
def _(_: There) -> str:
    return reach("pivot_root", b"/nowhere", b"/nowhere")


@probe("K17", "the new mount calls: fsopen")
def _(_: There) -> str:
    return reach("fsopen", b"tmpfs", 0)


@probe("K18", "quotas, accounting, swap")
def _(_: There) -> str:
    for name, arguments in (
        ("quotactl", (0x80000100, b"x", 0, None)),
        ("acct", (b"/nowhere",)),
        ("swapon", (b"/nowhere", 0)),
    ):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K19", "place memory on nodes (mbind, move_pages)")
def _(_: There) -> str:
    for name, arguments in (("mbind", (0, 0, 0, None, 0, 0)), ("move_pages", (0, 0, None, None, None, 0))):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K20", "vmsplice, secret memory")
def _(_: There) -> str:
    for name, arguments in (("vmsplice", (-1, None, 0, 0)), ("memfd_secret", (0,))):
        try:
            return f"{name} {reach(name, *arguments)}"
        except (OSError, NotHere):
            continue
    return ""


@probe("K21", "call by the 32-bit entry (int 0x80)")
def _(_: There) -> str:
    return "answered" if machine_code(GETPID_BY_INT80) == os.getpid() else ""


@probe("K22", "call by the x32 entry")
def _(_: There) -> str:
    if os.uname().machine != "x86_64":
        raise NotHere("not an x86_64 machine")
    return "answered" if call(X32_GETPID) == os.getpid() else ""


@probe("K23", "memory that is written and run", informational=True)
def _(_: There) -> str:
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    return "given" if len(page) else ""


@probe("K24", "hold a capability")
def _(_: There) -> str:
    held = ctypes.create_string_buffer(24)
    call("capget", struct.pack("Ii", CAPABILITY_VERSION_3, 0), held)
    ambient = any(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, one, 0, 0) == 1 for one in CAPABILITIES)
    return "some" if any(held.raw) or ambient else ""


@probe("K25", "let a program gain a capability (bounding set, and no_new_privs is off)")
def _(_: There) -> str:
    return _bounding() if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 else ""


@probe("K26", "gain rights at exec (no_new_privs is off)")
def _(_: There) -> str:
    return "" if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 else "off"


@probe("K27", "call without a filter")
def _(_: There) -> str:
    return "no filter" if libc.prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0 else ""


@probe("K28", "clone a tree of mounts (open_tree)")
def _(_: There) -> str:
    return reach("open_tree", AT_FDCWD, b"/", 1)


@probe("K29", "move a mount (move_mount)")
def _(_: There) -> str:
    return reach("move_mount", -1, b"", -1, b"", 0x44)


@probe("K30", "change a mount's flags (mount_setattr)")
def _(_: There) -> str:
    return reach("mount_setattr", AT_FDCWD, b"/", 0, ctypes.create_string_buffer(32), 32)


@probe("K31", "make or configure a mount (fsmount, fsconfig, fspick)")
def _(_: There) -> str:
    for name, arguments in (
        ("fsmount", (-1, 0, 0)), ("fsconfig", (-1, 6, None, None, 0)), ("fspick", (AT_FDCWD, b"/", 0)),
    ):  # fmt: skip
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K32", "make any namespace with clone")
def _(_: There) -> str:
    for flag in (
        CLONE_NEWUSER,
        CLONE_NEWNS,
        CLONE_NEWCGROUP,
        CLONE_NEWUTS,
        CLONE_NEWIPC,
        CLONE_NEWPID,
        CLONE_NEWNET,
    ):
        try:
            pid = call("clone", flag | SIGCHLD, 0, 0, 0, 0)
        except OSError:
            continue
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return f"{flag:#x}"
    return ""


@probe("K33", "make any namespace with unshare")
def _(_: There) -> str:
    for flag in (
        CLONE_NEWNS,
        CLONE_NEWCGROUP,
        CLONE_NEWUTS,
        CLONE_NEWIPC,
        CLONE_NEWPID,
        CLONE_NEWNET,
        CLONE_NEWTIME,
    ):
        try:
            call("unshare", flag)
        except OSError:
            continue
        return f"{flag:#x}"
    return ""


@probe("K34", "setns at all")
def _(_: There) -> str:
    return reach("setns", -1, 0)


@probe("K35", "load another kernel (kexec)")
def _(_: There) -> str:
    for name, arguments in (
        ("kexec_load", (0, 0, None, 0xFFFF)),
        ("kexec_file_load", (-1, -1, 0, None, 0xFFFF)),
    ):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K36", "restart the machine (with magic numbers that are wrong)")
def _(_: There) -> str:
    return reach("reboot", 0, 0, 0, None)


@probe("K37", "load or unload a module by file or name")
def _(_: There) -> str:
    for name, arguments in (("finit_module", (-1, b"", 0)), ("delete_module", (b"no_such_module", 0x800))):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K38", "ports of the machine (iopl, ioperm)")
def _(_: There) -> str:
    for name, arguments in (("iopl", (9,)), ("ioperm", (0x80, 1, 0))):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K39", "rename the machine")
def _(_: There) -> str:
    return reach("sethostname", b"x", -1)


@probe("K40", "watch whole file systems (fanotify)")
def _(_: There) -> str:
    return reach("fanotify_init", 0, 0)


@probe("K41", "write segment descriptors (modify_ldt)")
def _(_: There) -> str:
    return reach("modify_ldt", 0, ctypes.create_string_buffer(16), 16)


@probe("K42", "placement of all memory (set_mempolicy, migrate_pages)")
def _(_: There) -> str:
    for name, arguments in (("set_mempolicy", (0, None, 0)), ("migrate_pages", (0, 0, None, None))):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K43", "ask for a key by name, join a session ring")
def _(_: There) -> str:
    for name, arguments in (("request_key", (b"user", b"no-such", None, 0)), ("keyctl", (0, -3, 0, 0, 0))):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K44", "memory at address zero")
def _(_: There) -> str:
    libc.mmap.restype = ctypes.c_void_p
    got = libc.mmap(ctypes.c_void_p(0), 4096, 3, 0x32, -1, 0)  # private, anonymous, fixed
    return "given" if got in (None, 0) else ""


@probe("K45", "open a file by its handle")
def _(_: There) -> str:
    return reach("open_by_handle_at", AT_FDCWD, ctypes.create_string_buffer(136), 0)


@probe("K46", "list mounts by the new calls (listmount, statmount)")
def _(_: There) -> str:
    for number in (LISTMOUNT, STATMOUNT):
        request = struct.pack("IIQQ", 24, 0, 0xFFFF_FFFF_FFFF_FFFF, 0)
        try:
            return reach(number, request, ctypes.create_string_buffer(512), 64, 0)
        except OSError:
            continue
    return ""


@probe("K47", "take another process's memory (process_vm_writev, process_mrelease)")
def _(_: There) -> str:
    for name, arguments in (
        ("process_vm_writev", (os.getpid(), None, 0, None, 0, 0)),
        ("process_mrelease", (-1, 0)),
    ):
        try:
            return f"{name} {reach(name, *arguments)}"
        except OSError:
            continue
    return ""


@probe("K48", "obsolete calls (uselib, ustat, sysfs, lookup_dcookie)")
def _(_: There) -> str:
    for name, arguments in (
        ("uselib", (b"/nowhere",)), ("ustat", (0, ctypes.create_string_buffer(64))), ("sysfs", (3,)),
        ("lookup_dcookie", (0, None, 0)), ("remap_file_pages", (1, 0, 0, 0, 0)),
    ):  # fmt: skip
        try:
            return f"{name} {reach(name, *arguments)}"
        except (OSError, NotHere):
            continue
    return ""


@probe("K49", "set the clock")
def _(_: There) -> str:
    return reach("clock_settime", 0, struct.pack("qq", -1, -1))


@probe("K50", "watch another's pages in the cache (cachestat)", informational=True)
def _(_: There) -> str:
    fd = os.open("/usr/bin/env", os.O_RDONLY)
    return reach(CACHESTAT, fd, struct.pack("QQ", 0, 4096), ctypes.create_string_buffer(40), 0)


@probe("K51", "change what the kernel says a process is (PR_SET_MM)")
def _(_: There) -> str:
    return reach("prctl", PR_SET_MM, 8, 1, 0, 0)


@probe("K52", "the quota call by descriptor")
def _(_: There) -> str:
    return reach("quotactl_fd", -1, 0x80000100, 0, None)


@probe("K53", "clone a program without a trace on disk (memfd)", informational=True)
def _(_: There) -> str:
    return "made" if call("memfd_create", b"x", 0) >= 0 else ""


@probe("K54", "keep a bounding set, which is worth nothing under no_new_privs", informational=True)
def _(_: There) -> str:
    return _bounding()


def _bounding() -> str:
    """Asked of the kernel itself: walls that hide /proc hide nothing from this."""
    found = [one for one in CAPABILITIES if libc.prctl(PR_CAPBSET_READ, one, 0, 0, 0) == 1]
    return f"{len(found)} capabilities" if found else ""
