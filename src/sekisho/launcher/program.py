"""The plugin's first process, and the one that minds it: started as the request says, reaped, its end told.

Guarantees
- the program gets its pipes, its channel if it has one, its environment and default signals; no other descriptor;
- a program that could not be executed is told apart from one that ended: only the latter has an exit code;
- whoever minds it reaps every orphan and returns with the program's own end.

Knows no wall: whatever holds the caller holds the program.
"""

from __future__ import annotations

import binascii
import contextlib
import json
import os
import resource
import signal
from typing import Any, NamedTuple, NoReturn

from sekisho.launcher.kernel import close_at_exec, close_others

__all__ = ["NOT_RUN", "Ends", "Program", "decoded", "default_signals", "exit_code", "mind", "say"]

NOT_RUN = 127
MAX_STATUS_BYTES = 1 << 16  # it has two thousand
HARMLESS = frozenset({"NOFILE"})  # limits that hinder nobody who only waits
SIGNAL_CODE = 128  # as a shell says it


class Ends(NamedTuple):
    """A child's ends: the gate it waits at, the report of its life, and its complaint while walls are raised."""

    gate: int
    status: int
    failure: int


class Program(NamedTuple):
    """What is to run, and the descriptors it gets: its three pipes, and a channel or nothing."""

    command: list[str]
    environment: dict[str, str]
    cwd: str
    limits: dict[str, int]
    stdio: list[int]
    channel: int | None

    @classmethod
    def of(cls, request: dict[str, Any], theirs: list[int]) -> Program:
        """From the words of a launch."""
        channel = theirs[3] if len(theirs) > 3 else None
        named = {"{fd:channel}": str(channel)}
        return cls(
            command=[named.get(word, word) for word in request["command"]],
            environment=request["environment"],
            cwd=request["cwd"],
            limits=request["inner_rlimits"],
            stdio=theirs[:3],
            channel=channel,
        )

    @property
    def fds(self) -> set[int]:
        """All it gets."""
        return {*self.stdio, *(() if self.channel is None else (self.channel,))}

    def start(self) -> tuple[int, int]:
        """Run it as a child of ours; its process, and where it complains if it cannot be run, which closes if it can."""
        complaint, complain = os.pipe()
        pid = self._spawn() if self.limits.keys() <= HARMLESS else None
        if pid is None:  # also where it cannot be executed: the fork says why
            pid = os.fork()
            if pid == 0:
                self.become(complain)
        os.close(complain)
        return pid, complaint

    def _spawn(self) -> int | None:
        """A child that shares our memory until it is the program: a fork of an interpreter copies it, and throws it away.

        Limits, folder and mask are ours before they are its own. None where this is not to be had.
        """
        try:
            default_signals()
            os.umask(0o022)
            os.chdir(self.cwd)
            close_at_exec()
            if self.channel is not None:
                os.set_inheritable(self.channel, True)
            for name, value in self.limits.items():
                lower(name, value)
            actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(self.stdio)]
            return os.posix_spawn(
                self.command[0], self.command, self.environment, file_actions=actions, setsid=True
            )
        except (OSError, ValueError, NotImplementedError):
            return None

    def become(self, complain: int, *, has_default_signals: bool = False) -> NoReturn:
        """In a child of our own: run it; what goes wrong is written to `complain`, which closes when it runs.

        Args:
            has_default_signals: done already, by who could still ask which are not: behind walls all would be set.
        """
        try:
            os.setsid()
            if not has_default_signals:
                default_signals()
            os.umask(0o022)
            for target, fd in enumerate(self.stdio):
                os.dup2(fd, target)
            close_others({complain, *(() if self.channel is None else (self.channel,))})
            if self.channel is not None:
                os.set_inheritable(self.channel, True)
            os.chdir(self.cwd)
            for name, value in self.limits.items():
                lower(name, value)
            os.execve(self.command[0], self.command, self.environment)  # noqa: S606 - no shell is the point
        except (OSError, ValueError) as error:
            os.write(complain, f"{self.command[0]}: {error}\n".encode()[:4000])
        finally:
            os._exit(NOT_RUN)


def mind(pid: int, complaint: int, status: int) -> int:
    """Reap whoever ends until it was this one; its end is told in `status`, unless it never ran.

    The program's standard error is let go, so that whoever reads it sees its end. What takes its number is the pipe that
    has told all it will: the program's limit of files is ours too, and may leave no room for a new one.
    """
    text = os.read(complaint, 4096)
    if text:
        os.write(2, text)
    os.dup2(complaint, 2)
    os.close(complaint)
    while True:
        ended, how = os.wait()
        if ended == pid:
            if not text:
                say(status, {"exit-code": os.waitstatus_to_exitcode(how)})
            return NOT_RUN if text else exit_code(how)


def say(status: int, member: dict[str, int]) -> None:
    """One line of the report."""
    with contextlib.suppress(BrokenPipeError):
        os.write(status, json.dumps(member).encode() + b"\n")


def exit_code(how: int) -> int:
    """A wait status as the code that a shell would give it."""
    code = os.waitstatus_to_exitcode(how)
    return code if code >= 0 else SIGNAL_CODE - code


def default_signals() -> None:
    """What the launcher ignores or blocks is no plugin's business."""
    for number in changed_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def changed_signals() -> list[int]:
    """Those that are ignored or caught, as the kernel tells; all of them behind walls that hide what it tells.

    Asking for three costs a third of a millisecond less than setting all sixty.
    """
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
    text = os.read(fd, MAX_STATUS_BYTES)
    os.close(fd)
    changed = 0
    for name in (b"\nSigIgn:", b"\nSigCgt:"):
        changed |= int(text.partition(name)[2].split(None, 1)[0], 16)
    return [bit + 1 for bit in range(changed.bit_length()) if changed >> bit & 1]


def decoded(data: dict[str, str]) -> dict[str, bytes]:
    """The files of a request."""
    return {name: binascii.a2b_base64(content) for name, content in data.items()}


def lower(name: str, value: int) -> None:
    """Lower one limit of this process, never raise it."""
    which = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
