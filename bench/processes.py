"""Processes of the benchmark: started, waited for, ended; what their trees hold in memory and have used.

Guarantees that everything started here is ended again, with everything below it, also when the benchmark itself is
killed, and that no wait is endless.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BenchFailed",
    "Memory",
    "Process",
    "first_line",
    "free_port",
    "memory_of",
    "processor_ns",
    "running",
    "tail",
    "tied",
    "tree_of",
    "wait_port",
]

START_S = 25.0  # a server that says when it is ready
LISTEN_S = 60.0  # one that does not, and imports half the world first
END_S = 10.0
POLL_S = 0.02
PR_SET_PDEATHSIG = 1  # prctl(2)
CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3): the clock of a whole process is (~pid << 3) | 2


class BenchFailed(Exception):
    """A row cannot be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a tree."""

    pid: int
    parent: int
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """KiB: shared pages by their share, and pages of nobody else."""

    pss: int
    private: int


@contextlib.contextmanager
def running(
    command: Iterable[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; its standard input stays open that long."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("ab") as errors, _unbroken():
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=None if environment is None else {**os.environ, **environment},
                cwd=folder,
                start_new_session=True,  # so that what is below it can be ended with it
                preexec_fn=tied(),  # noqa: PLW1509 - nothing but a system call runs there
            )
        yield process
    finally:
        if process is not None:
            _end(process)


def tied() -> Callable[[], None]:
    """For Popen's `preexec_fn`: the kernel asks the server to end when the thread that started it has ended."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(1)

    return tie


def first_line(process: subprocess.Popen[bytes], log: Path) -> str:
    """What a server prints when it is ready."""
    assert process.stdout is not None
    line, deadline = b"", time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            more = b""
            if selector.select(max(0.0, deadline - time.monotonic())):
                more = os.read(process.stdout.fileno(), 1 << 16)
            if not more:
                raise BenchFailed(f"{_called(process)} did not get ready: {tail(log)}")
            line += more
    return line.decode().splitlines()[0]


def wait_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the port accepts a connection, for servers that tell their start in no other way."""

    def is_listening() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            return False
        return True

    wait_until(is_listening, process, log)


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask again until it is so; raises when the process ends first or the time is up."""
    deadline = time.monotonic() + LISTEN_S
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchFailed(f"{_called(process)} did not get ready: {tail(log)}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            raise BenchFailed(f"{_called(process)} ended: {tail(log)}")


def tail(log: Path) -> str:
    """The end of what a server said."""
    return log.read_text(errors="replace")[-1000:].strip() or "it said nothing"


def free_port() -> int:
    """A port nobody listens on, for servers that cannot choose one."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def tree_of(root: int) -> tuple[Process, ...]:
    """The process and everything below it, parents first."""
    children: dict[int, list[Process]] = {}
    for one in _all_processes():
        children.setdefault(one.parent if one.pid != root else 0, []).append(one)
    found = [one for one in children.get(0, ()) if one.pid == root]
    for one in found:  # grows while it is read
        found += children.get(one.pid, ())
    return tuple(found)


def processor_ns(pid: int) -> int:
    """Processor time of a process so far, user and system, all threads; 0 when it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return 0


def memory_of(pid: int) -> Memory:
    """What a process holds; nothing when it is gone."""
    values = {"Pss:": 0, "Private_Clean:": 0, "Private_Dirty:": 0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(" ")
            if name in values:
                values[name] = int(rest.split()[0])
    return Memory(pss=values["Pss:"], private=values["Private_Clean:"] + values["Private_Dirty:"])


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """A signal that ends us waits until the block is over: a process that was just started must be known first."""
    held: list[int] = []
    ours = {
        number: signal.signal(number, lambda received, _frame: held.append(received))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def _all_processes() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            head, _, rest = (folder / "stat").read_text().rpartition(") ")
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield Process(
                pid=int(folder.name),
                parent=int(rest.split()[1]),
                name=head.partition(" (")[2],
                words=tuple(words[:-1]),
            )


def _called(process: subprocess.Popen[bytes]) -> str:
    words = process.args if isinstance(process.args, list) else [str(process.args)]
    return " ".join([Path(words[0]).name, *words[1:2]])


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):  # usually nothing of its session is left
        os.killpg(process.pid, signal.SIGKILL)
