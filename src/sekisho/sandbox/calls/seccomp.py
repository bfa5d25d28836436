"""The system call filter: an allow-list, assembled to classic BPF in pure Python.

Guarantees, for the machines of `MACHINES`:
- a call that is not listed is refused (EPERM), one we have never heard of does not exist (ENOSYS);
- a call through a foreign entry (ia32, x32) kills the process, because its numbers mean something else;
- sockets are Unix (or pairs of them alone), TCP, UDP and route netlink; no raw, ICMP, packet, vsock, netfilter or kernel
  crypto sockets;
- no new namespace, no mount, no tracing of another process, no key ring, no io_uring, no terminal injection;
- nothing is taken that the whole host shares and that no limit counts: places for asynchronous I/O, leases on files;
- no file becomes set-uid or set-gid: one left in a granted folder would lend our uid to whoever runs it later.

Knows nothing of namespaces or files: it is one wall among several. Judgement only: values in, bytes out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.sandbox.calls.syscalls import AARCH64, X86_64
from sekisho.sandbox.calls.watched import OPENS, Told, watched_calls

__all__ = ["ALLOWED", "MACHINES", "UNSEEN", "Machine", "assemble", "call_name", "refusals"]

EPERM: Final = 1
ENOSYS: Final = 38
ENOTSUP: Final = 95
EAFNOSUPPORT: Final = 97

KILL: Final = 0x8000_0000  # SECCOMP_RET_KILL_PROCESS
ALLOW: Final = 0x7FFF_0000
ERRNO: Final = 0x0005_0000
NOTIFY: Final = (
    0x7FC0_0000  # SECCOMP_RET_USER_NOTIF: refused by whoever listens, or by the kernel when nobody does
)

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_NR_OFFSET: Final = 0  # struct seccomp_data
_ARCH_OFFSET: Final = 4
_MAX_JUMP: Final = 255  # conditional jumps have eight bits
MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS

# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: each one opens kernel code to whoever is root
# inside it.
_NAMESPACE_FLAGS: Final = 0x7E02_0000
_X32_BIT: Final = 0x4000_0000
_SET_ID: Final = 0o6000
RAISES: Final = ("openat2",)  # what a plugin must not have, and bwrap cannot do without
_MAKES_A_FILE: Final = 0o100 | 0o20000000  # O_CREAT; O_TMPFILE without the O_DIRECTORY in it
_CHANGES_A_FILE: Final = 0o1 | 0o2 | 0o1000  # O_WRONLY, O_RDWR, O_TRUNC
_NAMES_A_FILE: Final = 0o10000000  # O_PATH

Step = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
Code = list[Step]


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture: its audit number and its table of calls."""

    audit_arch: int
    numbers: dict[str, int]


MACHINES: Final = {
    "x86_64": Machine(0xC000_003E, X86_64),
    "aarch64": Machine(0xC000_00B7, AARCH64),
}

ALLOWED: Final = frozenset(  # one text reads better than three hundred quotes
    """
    accept accept4 access alarm arch_prctl bind brk capget capset chdir chown clock_getres clock_gettime
    clock_nanosleep close close_range connect copy_file_range dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fallocate fchdir fchown fchownat fdatasync fgetxattr flistxattr flock
    fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_waitv futimesat getcpu getcwd
    getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresuid getrlimit get_robust_list getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch ioprio_get ioprio_set kill lchown lgetxattr link linkat listen
    listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise membarrier memfd_create mincore
    mkdir mkdirat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep
    newfstatat pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
    ppoll prctl pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recvfrom recvmmsg recvmsg removexattr rename renameat renameat2
    restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield select semctl semget
    semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups setitimer
    setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list setsid
    setsockopt set_tid_address setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill
    time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat
    utimes vfork wait4 waitid write writev
    """.split()  # noqa: SIM905
)


def assemble(
    machine: str,
    *,
    shared: bool = False,
    watched: bool = False,
    alarm: bool = False,
    told: Told = "none",
    before_bwrap: bool = False,
    unix_sockets: bool = True,
) -> bytes:
    """The filter for one machine, as the array of `struct sock_filter` that seccomp takes.

    Args:
        machine: as `uname` calls it.
        shared: for a plugin without namespaces, which shares the host's sockets, objects, files and processes.
        watched: where no control group counts memory; what a watcher of mappings cannot see is refused then.
        alarm: whether what is refused rings with a listener; what does not exist (ENOSYS) does not.
        told: which attempts on files ring as well, though they are allowed: the listener lets each go on.
        before_bwrap: whether an alarm is loaded before bwrap, which raises walls by `openat2` since 0.12: it rings, and
            does not exist once the walls stand.
        unix_sockets: False for a plugin that could find a service's socket in what it is granted: no mount keeps it from
            connecting. Pairs that cannot be pointed elsewhere remain.
    """
    known = MACHINES.get(machine)
    if known is None:
        raise Misconfigured(
            "sandbox_unavailable",
            f"no system call filter for {machine}",
            remedy="run plugins on " + " or ".join(sorted(MACHINES)),
        )
    code: Code = [(_LOAD, 0, 0, _ARCH_OFFSET), (_EQUAL, 1, 0, known.audit_arch), _answer(KILL)]
    code += [(_LOAD, 0, 0, _NR_OFFSET)]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32_BIT), _answer(KILL)]
    told = told if alarm else "none"
    raising = {known.numbers[name] for name in RAISES if name in known.numbers and alarm and before_bwrap}
    instead = {**(_UNSEEN if watched else {}), **({} if unix_sockets or shared else _WITHOUT_UNIX)}
    code += _search(_intervals(known.numbers, raising, instead, shared=shared, told=told))
    if alarm:
        code = [_rung(step) for step in code]
    if len(code) > MAX_INSTRUCTIONS:
        raise Misconfigured("sandbox_unavailable", "the system call filter is too long for the kernel")
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def refusals(machine: str) -> dict[int, int]:
    """What a listener answers where EPERM would not do: numbers of calls and their errors."""
    numbers = MACHINES[machine].numbers if machine in MACHINES else {}
    errors = {"socket": EAFNOSUPPORT, "socketpair": EAFNOSUPPORT, **dict.fromkeys(RAISES, ENOSYS)}
    return {numbers[name]: error for name, error in errors.items() if name in numbers}


def call_name(machine: str, number: int) -> str:
    """A call's name, for a person."""
    known = MACHINES.get(machine)
    return (
        next((name for name, one in known.numbers.items() if one == number), str(number))
        if known
        else str(number)
    )


def _rung(step: Step) -> Step:
    refused = step[0] == _RETURN and step[3] in {ERRNO | EPERM, ERRNO | EAFNOSUPPORT}
    return _answer(NOTIFY) if refused else step


def _answer(value: int) -> Step:
    return (_RETURN, 0, 0, value)


def _error(number: int) -> Code:
    return [_answer(ERRNO | number)]


def _argument(index: int) -> Step:
    # The low word of argument `index`: both machines are little endian, and the kernel reads no more of these
    # than that.
    return (_LOAD, 0, 0, 16 + 8 * index)


def _one_of(values: Iterable[int], errno: int) -> Code:
    """Allow when the loaded word is one of these."""
    chosen = list(values)
    steps: Code = [(_EQUAL, len(chosen) - index, 0, value) for index, value in enumerate(chosen)]
    return [*steps, *_error(errno), _answer(ALLOW)]


def _clone() -> Code:
    return [_argument(0), (_ANY_BIT, 0, 1, _NAMESPACE_FLAGS), *_error(EPERM), _answer(ALLOW)]


def _clone3() -> Code:
    return _error(ENOSYS)  # its flags lie in memory a filter cannot read; C libraries then fall back to clone


def _ioctl() -> Code:
    refused = (0x5412, 0x541C, 0x541D)  # TIOCSTI, TIOCLINUX, TIOCCONS put words into somebody's terminal
    steps: Code = [(_EQUAL, len(refused) - index, 0, value) for index, value in enumerate(refused)]
    return [_argument(1), *steps, _answer(ALLOW), *_error(EPERM)]


def _fcntl() -> Code:
    # F_SETLEASE: by a lease on a file that it may only read, a plugin makes whoever opens the file outside wait for
    # the kernel's `lease-break-time`, 45 seconds, each time. The owner may take one, and inside the plugin is the owner.
    return [_argument(1), (_EQUAL, 0, 1, 1024), *_error(EPERM), _answer(ALLOW)]


def _personality() -> Code:
    return [_argument(0), *_one_of((0, 0xFFFF_FFFF), EPERM)]  # Linux, or the question which one it is


def _mknod(mode_argument: int) -> Code:
    plain = (0, 0o100000, 0o010000, 0o140000)  # file, FIFO, socket: never a device
    return [
        _argument(mode_argument),
        (_ANY_BIT, 0, 1, _SET_ID),
        *_error(EPERM),
        (_AND, 0, 0, 0o170000),
        *_one_of(plain, EPERM),
    ]


def _mode(argument: int) -> Code:
    """Never set-uid or set-gid."""
    return [_argument(argument), (_ANY_BIT, 0, 1, _SET_ID), *_error(EPERM), _answer(ALLOW)]


def _open(flags_argument: int, told: Told = "none") -> Code:
    """A mode counts only where a file is made; elsewhere it is whatever the register held."""
    mode = _mode(flags_argument + 1)
    if told == "none":
        return [_argument(flags_argument), (_ANY_BIT, 1, 0, _MAKES_A_FILE), _answer(ALLOW), *mode]
    looks: Code = [(_ANY_BIT, 0, 1, _NAMES_A_FILE), _answer(ALLOW), _answer(NOTIFY)]
    if told == "changes":
        looks = [(_ANY_BIT, 1, 0, _CHANGES_A_FILE), _answer(ALLOW), *looks]
    is_made = (_ANY_BIT, 0, len(mode), _MAKES_A_FILE)
    return [_argument(flags_argument), is_made, *_ringing(mode), *looks]


def _ringing(code: Iterable[Step]) -> Code:
    """The same, where what is allowed rings first."""
    return [_answer(NOTIFY) if step == _answer(ALLOW) else step for step in code]


def _openat2() -> Code:
    return _error(ENOSYS)  # its mode lies in memory a filter cannot read; programs then fall back to openat


def _socketpair() -> Code:
    return [_argument(0), *_one_of((1,), EAFNOSUPPORT)]


def _socket(*, unix: bool = True) -> Code:
    """Unix, where it may be; IPv4 and IPv6 streams (TCP) and datagrams (UDP); route netlink, without which Node cannot
    start a server.
    """
    stream = [_argument(2), *_one_of((0, 6), EAFNOSUPPORT)]
    datagram = [_argument(2), *_one_of((0, 17), EAFNOSUPPORT)]
    inet: Code = [
        _argument(1),
        (_AND, 0, 0, 0xF),  # the rest of the word is SOCK_CLOEXEC and SOCK_NONBLOCK
        (_EQUAL, 2, 0, 1),
        (_EQUAL, 1 + len(stream), 0, 2),
        *_error(EAFNOSUPPORT),
        *stream,
        *datagram,
    ]
    netlink = [_argument(2), *_one_of((0,), EAFNOSUPPORT)]
    return [
        _argument(0),
        *([(_EQUAL, 4, 0, 1)] if unix else []),
        (_EQUAL, 4, 0, 2),
        (_EQUAL, 3, 0, 10),
        (_EQUAL, 2 + len(inet), 0, 16),
        *_error(EAFNOSUPPORT),
        _answer(ALLOW),
        *inet,
        *netlink,
    ]


def _is_zero(index: int) -> Code:
    """Allow when argument `index` is 0, which names the caller itself, and nothing else."""
    return [_argument(index), *_one_of((0,), EPERM)]


def _pair_of_streams() -> Code:
    """A pair that cannot be pointed elsewhere: a datagram socket sends to any path, though it is one of a pair."""
    kind: Code = [_argument(1), (_AND, 0, 0, 0xF), *_one_of((1, 5), EAFNOSUPPORT)]
    return [_argument(0), (_EQUAL, 1, 0, 1), *_error(EAFNOSUPPORT), *kind]


_CHECKED: Final[dict[str, Callable[[], Code]]] = {
    "chmod": lambda: _mode(1),
    "clone": _clone,
    "clone3": _clone3,
    "creat": lambda: _mode(1),
    "fchmod": lambda: _mode(1),
    "fchmodat": lambda: _mode(2),
    "fchmodat2": lambda: _mode(2),
    "fcntl": _fcntl,
    "ioctl": _ioctl,
    "mknod": lambda: _mknod(1),
    "mknodat": lambda: _mknod(2),
    "openat2": _openat2,
    "personality": _personality,
    "socket": _socket,
    "socketpair": _socketpair,
}


# Without namespaces each of these reaches the host: other processes of our user, its System V objects and queues, its
# sockets by their path, its folders (inotify asks no Landlock), and modes, owners and times of every file that we own.
_SHARED: Final[dict[str, Code]] = {
    name: code
    for names, code in (
        ("socket", _error(EAFNOSUPPORT)),
        ("socketpair", _pair_of_streams()),
        ("accept accept4 bind connect listen inotify_add_watch", _error(EPERM)),
        (
            "truncate",
            _error(EPERM),
        ),  # by its path; Landlock judges it from ABI 3 on, and ftruncate needs an open file
        ("mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink", _error(EPERM)),
        ("msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmget", _error(EPERM)),
        # Answered as if done: git, tar and cp ask for it all the time, and nothing inside depends on it.
        ("chmod chown fchmod fchmodat fchmodat2 fchown fchownat lchown", _error(0)),
        ("futimesat utime utimensat utimes", _error(0)),
        ("fremovexattr fsetxattr lremovexattr lsetxattr removexattr setxattr", _error(ENOTSUP)),
        ("prlimit64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler", _is_zero(0)),
        ("setpriority ioprio_set", _is_zero(1)),
    )
    for name in names.split()
}


# Memory that is kept without being mapped: who adds up the mappings of a plugin never sees it. Libraries make a plain
# file where the first does not exist.
_UNSEEN: Final[dict[str, Code]] = {"memfd_create": _error(ENOSYS), "shmget": _error(EPERM)}
UNSEEN: Final = frozenset(_UNSEEN)
_WITHOUT_UNIX: Final[dict[str, Code]] = {"socket": _socket(unix=False), "socketpair": _pair_of_streams()}


def _intervals(
    numbers: dict[str, int], raising: set[int], instead: dict[str, Code], *, shared: bool, told: Told
) -> list[tuple[int, tuple[Step, ...]]]:
    """(first number, what to do) in order; each holds up to the next one."""
    by_number = {number: name for name, number in numbers.items()}
    ringing = watched_calls(numbers, told, shared=shared)
    # fchmodat2 is newer than the table around it; calls between are unknown to us and answer so.
    newest = max(number for name, number in numbers.items() if name != "fchmodat2")

    def leaf(number: int) -> tuple[Step, ...]:
        name = by_number.get(number)
        if number in raising:
            return (_answer(NOTIFY),)
        if name in instead:
            return tuple(instead[name])
        if shared and name in _SHARED:
            return tuple(_SHARED[name])
        if name in OPENS:
            return tuple(_open(OPENS[name].flags, told))
        if name in _CHECKED or name in ALLOWED:
            code = _CHECKED[name]() if name in _CHECKED else [_answer(ALLOW)]
            return tuple(_ringing(code) if number in ringing else code)
        return tuple(_error(EPERM if number <= newest else ENOSYS))

    every = [(number, leaf(number)) for number in range(max(by_number) + 2)]
    return [next(group) for _, group in groupby(every, key=lambda entry: entry[1])]


def _search(intervals: list[tuple[int, tuple[Step, ...]]]) -> Code:
    """A binary search over the intervals: eight comparisons instead of three hundred."""
    if len(intervals) == 1:
        return list(intervals[0][1])
    middle = len(intervals) // 2
    low, high = _search(intervals[:middle]), _search(intervals[middle:])
    pivot = intervals[middle][0]
    if len(low) <= _MAX_JUMP:
        return [(_AT_LEAST, len(low), 0, pivot), *low, *high]
    return [(_AT_LEAST, 0, 1, pivot), (_JUMP, 0, 0, len(low)), *low, *high]
