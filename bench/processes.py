"""Processes of the benchmark: started, waited for, ended; and the processor time of their whole trees."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.caller import BenchFailed

__all__ = ["cpu_seconds", "get_count", "running"]

START_S = 40.0
END_S = 10.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a server; gives the process and the line it prints when it is ready, and ends it."""
    words = [str(word) for word in command]
    with log.open("wb") as errors:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process, _first_line(process, log)
    finally:
        _end(process)


def _first_line(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    line, deadline = b"", time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            more = b""
            if selector.select(max(0.0, deadline - time.monotonic())):
                more = os.read(process.stdout.fileno(), 4096)
            if not more:
                said = log.read_text(errors="replace")[-2000:]
                raise BenchFailed(f"{process.args!r} did not get ready:\n{said}")
            line += more
    return line.decode().splitlines()[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(*roots: int) -> float:
    """Processor time, user and system, that these processes and everything below them have used."""
    ticks, wanted = 0, set(roots)
    for pid, parent, used in sorted(_all_processes()):
        if pid in wanted or parent in wanted:
            wanted.add(pid)
            ticks += used
    return ticks / TICKS_PER_S


def _all_processes() -> Iterator[tuple[int, int, int]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            yield int(folder.name), int(fields[1]), int(fields[11]) + int(fields[12])


def get_count(port: int) -> int:
    """How many requests have reached the plugin."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count", timeout=5) as answer:
        return int(answer.read())
