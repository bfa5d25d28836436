"""The nursery: one process that has imported everything, and forks the plugin servers and the egress proxy of `up`.

Guarantees
- it holds no key, reads no file of the house, no environment and no orders: those of a child come in a letter that only
  the child opens;
- it has one thread and starts none, so a fork copies a whole process and not half of one;
- it never turns a loop of libuv, whose lock for signals is a pipe that each fork makes anew, and whose ends a child that
  closes what it has inherited would close too;
- a child keeps standard input (nothing), its output pipe and standard error, and no other descriptor; signals, the
  collector, the random generators and the command line that `ps` shows are its own;
- a child dies with the nursery and the nursery with `up`, however either ends.

Forked children share the nursery's address layout, its stack canary and the secret of its hash tables with each other.
The core does not: it is started as a program of its own (docs/decisions/0010).

Knows no configuration, and nobody but `up`, who holds the other end of its socket (`cradle`).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import ssl
import sys
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sekisho.assembly.births import Born, Contents, Ended, Failed, Job, Message, receive, send
from sekisho.assembly.memory import settle_for_forks
from sekisho.errors import Misconfigured
from sekisho.launcher.kernel import close_others, die_with_parent, entitle

__all__ = ["Letter", "serve_on"]

# What children need, with what those import only when they first use it.
SHARED: Final = (
    "sekisho.assembly.plugin",
    "sekisho.assembly.egress",
    "encodings.ascii",
)
KNOWN: Final = bytes(range(32))
MAX_LETTER_BYTES: Final = (
    16 << 20
)  # an environment is far smaller (2 MiB is the kernel's bound), as are orders


class Letter:
    """A child's environment and orders, unread: only the child opens it, so that no sibling has it in its memory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def open(self) -> Contents:
        """Read it, once."""
        try:
            return msgspec.json.decode(os.pread(self._fd, MAX_LETTER_BYTES, 0), type=Contents)
        finally:
            os.close(self._fd)


def serve_on(fd: int, parent: str) -> tuple[Job, Letter] | None:
    """Fork a child for each message that comes on this descriptor.

    Returns None when `up` is gone, and in each child the child's own job and letter.
    """
    for name in SHARED:
        importlib.import_module(name)
    _open_the_toolbox()
    if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208  # a count, not paths
        raise Misconfigured("internal", "an import started a thread; a process with threads cannot be forked")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; `up` decides what they mean
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    title = tuple(sys.orig_argv[: sys.orig_argv.index("sekisho.assembly") + 1])
    entitle(*title, parent, "nursery")
    settle_for_forks()  # else the first collection of each child would copy every page
    return _Nursery(control, title).serve()


def _open_the_toolbox() -> None:
    """Have OpenSSL build its tables once: 3 MiB that each child would otherwise build for itself.

    The keys are numbers that anybody knows, used once and for nothing. Each child draws its own randomness all the
    same, because OpenSSL, Python and the kernel notice a fork (tests/real shows it).
    """
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        ssl.SSLContext(protocol)
    curve = ec.derive_private_key(1, ec.SECP256R1())
    pem = curve.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    serialization.load_pem_private_key(pem, None)
    signing = Ed25519PrivateKey.from_private_bytes(KNOWN)
    signing.public_key().verify(signing.sign(b""), b"")
    X25519PrivateKey.from_private_bytes(KNOWN).public_key()
    hashes.Hash(hashes.SHA256()).finalize()


class _Nursery:
    def __init__(self, control: socket.socket, title: tuple[str, ...]) -> None:
        self._control = control
        self._title = title
        self._children: dict[int, tuple[int, int]] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> tuple[Job, Letter] | None:
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._control.fileno():
                    self._collect(fd)
                    continue
                data, fds = receive(self._control)
                if not data:
                    return None
                job = msgspec.json.decode(data, type=Job)
                letter = self._fork(job, *fds)
                if letter is not None:
                    return job, letter

    def _fork(self, job: Job, letter: int, output: int) -> Letter | None:
        """In the child: its letter. Here: None."""
        nursery = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(Failed(job.id, str(error)))
        else:
            if pid == 0:
                return self._become(job, nursery, letter, output)
            self._watch(job.id, pid)
        os.close(letter)
        os.close(output)
        return None

    def _watch(self, ident: int, pid: int) -> None:
        """The descriptor of a process names it for ever; its number may be given to another."""
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (ident, pid)
        self._poll.register(pidfd, select.POLLIN)
        self._tell(Born(ident, pid), pidfd)

    def _become(self, job: Job, nursery: int, letter: int, output: int) -> Letter:
        """In the child: nothing of the nursery's stays but its memory."""
        die_with_parent(nursery)
        os.dup2(output, 1)
        self._control.close()  # before its number can mean something else
        close_others({letter})
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.default_int_handler)
        entitle(*self._title, str(nursery), *job.arguments)
        return Letter(letter)

    def _collect(self, pidfd: int) -> None:
        ident, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        self._tell(Ended(ident, os.waitstatus_to_exitcode(status)))

    def _tell(self, message: Message, *fds: int) -> None:
        with contextlib.suppress(ConnectionError):  # a supervisor that is gone is noticed at the next receive
            send(self._control, message, fds)
