"""Files: what is the host's must not be seen, changed, or left behind for the host to trip over."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.real.escape.inside.kit import NotHere, There, call, probe, reach

AT_FDCWD: Final = -100
MAX_FD: Final = 256


@probe("F01", "read /etc/shadow")
def _(there: There) -> str:
    return "read it" if Path("/etc/shadow").read_bytes() else ""


@probe("F02", "read a key in the user's home (~/.ssh)")
def _(there: There) -> str:
    return there.read(there.at["ssh_key"])


@probe("F03", "read another plugin's data")
def _(there: There) -> str:
    return there.read(there.at["other_plugin"])


@probe("F04", "read a file of the host's /tmp")
def _(there: There) -> str:
    return there.read(there.at["tmp_file"])


@probe("F05", "read a file of the host's /dev/shm")
def _(there: There) -> str:
    return there.read(there.at["shm_file"])


@probe("F06", "learn the host's user names")
def _(there: There) -> str:
    return there.leaked(Path("/etc/passwd").read_bytes())


@probe("F07", "write into the user's home, to stay", outside=True)
def _(there: There) -> str:
    return there.write(f"{there.at['home']}/planted")


@probe("F08", "append to a shell's start file", outside=True)
def _(there: There) -> str:
    return there.write(f"{there.at['home']}/.bashrc")


@probe("F09", "write a file that was given for reading", outside=True)
def _(there: There) -> str:
    return there.write(f"{there.at['read_only']}/F09")


@probe("F10", "replace a file that was given for reading", outside=True)
def _(there: There) -> str:
    fresh = Path(there.at["read_only"], "fresh")
    fresh.write_text("replaced")
    fresh.replace(Path(there.at["read_only"], "F10"))
    return "replaced"


@probe("F11", "a link in a writable folder that leads to a secret")
def _(there: There) -> str:
    link = Path(there.at["writable"], "link")
    link.unlink(missing_ok=True)
    link.symlink_to(there.at["ssh_key"])
    return there.read(str(link))


@probe("F12", "a hard link to a secret")
def _(there: There) -> str:
    link = Path(there.at["writable"], "hard")
    link.unlink(missing_ok=True)
    link.hardlink_to(there.at["ssh_key"])
    return there.read(str(link))


@probe("F13", "climb out of a writable folder with ..")
def _(there: There) -> str:
    return there.read(there.at["writable"] + "/" + os.path.relpath(there.at["ssh_key"], there.at["writable"]))


@probe("F14", "through /proc/PID/root or cwd of any process")
def _(there: There) -> str:
    for pid in _pids():
        for way in ("root", "cwd"):
            for target in (there.at["ssh_key"], there.at["tmp_file"]):
                try:
                    if there.read(f"/proc/{pid}/{way}{target}"):
                        return f"by process {pid}"
                except OSError:
                    continue
    return ""


@probe("F15", "gain rights by running a set-uid program")
def _(there: There) -> str:
    before = os.geteuid()
    for program in ("/usr/bin/su", "/usr/bin/passwd", "/bin/mount", "/usr/bin/newgrp"):
        if before == 0 or not Path(program).exists() or not Path(program).stat().st_mode & stat.S_ISUID:
            continue
        child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=-1, stderr=-1)
        try:
            uids = Path(f"/proc/{child.pid}/status").read_text().partition("Uid:")[2].split()[:4]
        finally:
            child.kill()
            child.wait()
        if uids[1] == "0":
            return f"{program} ran as root"
    return ""


@probe("F16", "open a disk, kernel memory, kernel log or hypervisor device")
def _(there: There) -> str:
    for name in (
        "mem",
        "kmem",
        "port",
        "kmsg",
        "kvm",
        "vda",
        "sda",
        "nvme0n1",
        "mapper/control",
        "loop-control",
    ):
        if _opens(f"/dev/{name}"):
            return f"/dev/{name}"
    return ""


@probe("F17", "make a device node")
def _(there: There) -> str:
    for folder in (there.at["writable"], "/tmp", "/dev"):
        path = Path(folder, "node")
        try:
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(254, 0))
        except OSError:
            continue
        path.unlink()
        return f"in {folder}"
    return ""


@probe("F18", "read through a descriptor that the launcher forgot")
def _(there: There) -> str:
    for fd in range(3, MAX_FD):
        try:
            if there.leaked(os.pread(fd, 4096, 0)):
                return f"descriptor {fd}"
        except OSError:
            continue
    return ""


@probe("F19", "run a file that was just dropped", informational=True)
def _(there: There) -> str:
    path = Path(there.at["writable"], "dropped")
    path.write_text("#!/bin/sh\nexit 7\n")
    path.chmod(0o755)
    return "ran" if subprocess.run([str(path)], check=False).returncode == 7 else ""


@probe("F20", "open a file by its handle (Shocker)")
def _(there: There) -> str:
    handle = (ctypes.c_char * 136)()
    handle[0] = b"\x80"
    mount = (ctypes.c_int * 1)()
    return reach("name_to_handle_at", AT_FDCWD, b"/", handle, mount, 0)


@probe("F21", "write the kernel's settings")
def _(there: There) -> str:
    for path in ("/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/sys/kernel/mm/ksm/run"):
        if _opens(path, os.O_WRONLY):
            return path
    return ""


@probe("F22", "make a control group")
def _(there: There) -> str:
    for folder in _cgroup_folders():
        path = folder / "planted"
        try:
            path.mkdir()
        except OSError:
            continue
        path.rmdir()
        return str(folder)
    return ""


@probe("F23", "read the launcher's secrets in the environment")
def _(there: There) -> str:
    return there.leaked("\n".join(os.environ.values()).encode())


@probe("F24", "overwrite the program that raised the walls (CVE-2019-5736)")
def _(there: There) -> str:
    for pid in _pids():
        fd = _open_or_none(f"/proc/{pid}/exe", os.O_PATH)
        if fd is not None and _lies_outside(fd) and _opens_busy(f"/proc/self/fd/{fd}"):
            return f"the program of process {pid}"
    return ""


@probe("F25", "a working folder or descriptor that lies outside (CVE-2024-21626)")
def _(there: There) -> str:
    here = os.getcwd()  # noqa: PTH109 - it may be unreachable, and must say so
    if here.startswith("(unreachable)"):
        return "the working folder is outside"
    climb = "../" * 12
    for fd in range(3, MAX_FD):
        for target in (there.at["ssh_key"], there.at["tmp_file"]):
            try:
                found = os.open(climb + target.lstrip("/"), os.O_RDONLY, dir_fd=fd)
            except OSError:
                continue
            if there.leaked(os.read(found, 4096)):
                return f"descriptor {fd}"
    return ""


@probe("F26", "open kernel memory in /proc")
def _(there: There) -> str:
    for name in (
        "kcore",
        "kmsg",
        "kpageflags",
        "kpagecount",
        "vmallocinfo",
        "slabinfo",
        "timer_list",
        "sched_debug",
    ):
        fd = _open_or_none(f"/proc/{name}", os.O_RDONLY | os.O_NONBLOCK)
        if fd is None:
            continue
        try:
            if os.read(fd, 64):
                return f"/proc/{name}"
        except BlockingIOError:
            return f"/proc/{name}"
        except OSError:
            continue
    return ""


@probe("F27", "read the list of keys (/proc/keys)")
def _(there: There) -> str:
    return there.leaked(Path("/proc/keys").read_bytes())


@probe("F28", "name a program for the kernel to run (core_pattern, modprobe, uevent_helper, hotplug)")
def _(there: There) -> str:
    for path in (
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug",
        "/sys/kernel/uevent_helper",
        "/proc/sys/fs/binfmt_misc/register",
    ):
        if _opens(path, os.O_WRONLY):
            return path
    return ""


@probe("F29", "reach the system request key")
def _(there: There) -> str:
    return "opened" if _opens("/proc/sysrq-trigger", os.O_WRONLY) else ""


@probe("F30", "name a release agent (CVE-2022-0492)")
def _(there: There) -> str:
    for folder in _cgroup_folders():
        if _opens(str(folder / "release_agent"), os.O_WRONLY):
            return str(folder)
    return ""


@probe("F31", "reopen a read-only file for writing (/proc/self/fd)")
def _(there: There) -> str:
    fd = os.open(f"{there.at['read_only']}/F31", os.O_RDONLY)
    return "reopened" if _opens(f"/proc/self/fd/{fd}", os.O_WRONLY) else ""


@probe("F32", "leave a set-uid program in a writable folder", outside=True)
def _(there: There) -> str:
    path = Path(there.at["writable"], "setuid")
    path.write_bytes(Path(os.path.realpath(sys.executable)).read_bytes()[:64])
    path.chmod(0o6755)
    return "left"


@probe("F33", "put capabilities on a file")
def _(there: There) -> str:
    path = Path(there.at["writable"], "capable")
    path.write_bytes(b"")
    value = (
        b"\x00\x00\x00\x02" + b"\x00\x00\x20\x00" + bytes(12)
    )  # VFS_CAP_REVISION_2, CAP_SYS_ADMIN permitted
    os.setxattr(path, "security.capability", value)
    return "put"


@probe("F35", "read tracing, debugging or pressure files of the kernel (/sys)")
def _(there: There) -> str:
    for path in (
        "/sys/kernel/tracing",
        "/sys/kernel/debug",
        "/sys/firmware/dmi/tables/DMI",
        "/sys/kernel/vmcoreinfo",
    ):
        with contextlib.suppress(OSError):  # a folder that is closed says nothing of the next one
            if Path(path).is_dir():
                if any(Path(path).iterdir()):
                    return path
            elif _opens(path):
                return path
    return ""


@probe("F36", "open a tunnel, FUSE or vhost device")
def _(there: There) -> str:
    for name in ("net/tun", "fuse", "vhost-vsock", "vhost-net", "userfaultfd", "vfio/vfio", "uinput"):
        if _opens(f"/dev/{name}", os.O_RDWR):
            return f"/dev/{name}"
    return ""


@probe("F37", "watch the host's folders (inotify)")
def _(there: There) -> str:
    fd = call("inotify_init1", 0)
    call("inotify_add_watch", fd, os.fsencode(there.at["home"]), 0xFFF)
    return "watching" if Path(there.at["ssh_key"]).exists() else ""


@probe("F38", "see the host use its own programs (inotify on /usr/bin)", informational=True)
def _(there: There) -> str:
    fd = call("inotify_init1", 0)
    call("inotify_add_watch", fd, b"/usr/bin", 0xFFF)
    return "a watch was granted; what is shared read-only shows when it is read"


@probe("F39", "undo a mount that covers something")
def _(there: There) -> str:
    for path in (b"/proc/keys", b"/proc/sys", b"/tmp", there.at["writable"].encode()):
        try:
            call("umount2", path, 2)
        except OSError:
            continue
        return path.decode()
    return ""


@probe("F40", "give a shared file a new time, owner or mode", outside=True)
def _(there: There) -> str:
    Path(there.at["read_only"], "F40").chmod(0o777)
    return "changed"


def _pids() -> Iterator[int]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - quicker, and errors are one
        if entry.isdigit():
            yield int(entry)


def _cgroup_folders() -> Iterator[Path]:
    top = Path("/sys/fs/cgroup")
    if not top.is_dir():
        raise NotHere("no control groups to see")
    yield top
    yield from (one for one in top.iterdir() if one.is_dir())


def _open_or_none(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags)
    except OSError:
        return None


def _opens(path: str, flags: int = os.O_RDONLY) -> bool:
    fd = _open_or_none(path, flags)
    if fd is not None:
        os.close(fd)
    return fd is not None


def _opens_busy(path: str) -> bool:
    """A running program answers ETXTBSY to a writer who may: as soon as it ends, he does."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return error.errno == 26  # ETXTBSY
    return True


def _lies_outside(fd: int) -> bool:
    """Whether a file is on no mount of ours, and no copy in memory either."""
    mount = Path(f"/proc/self/fdinfo/{fd}").read_text().partition("mnt_id:")[2].split()[0]
    ours = {line.split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return mount not in ours and not str(Path(f"/proc/self/fd/{fd}").readlink()).startswith("/memfd:")
